version 1.1
import "two.wdl" as two
workflow a { call two.b }

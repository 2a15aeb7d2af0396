version 1.1
import "parts/one.wdl" as one
workflow main { call one.a }

version 1.1

import "missing.wdl" as missing
import "broken.wdl" as broken
import "wrong.wdl" as wrong

workflow main {
}

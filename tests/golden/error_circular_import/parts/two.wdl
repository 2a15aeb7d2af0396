version 1.1

import "../source.wdl" as source
workflow b { call source.main }

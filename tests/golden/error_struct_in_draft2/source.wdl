import "new.wdl" as new

workflow old {
  call new.make
  call new.use { input: s = make.s }
}

version 1.1

workflow broken {
  input {
	Int n = = 3
  }
}

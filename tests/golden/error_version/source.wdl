# a comment first
version 3.0

workflow future {
}

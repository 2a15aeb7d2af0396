version 1.0

workflow top_kmers {
    meta {
        description: "The k-mers that a table of counts has most of."
    }
    input {
        File counts
        Int most = 5
    }
    call top {
        input:
            counts = counts,
            most = most
    }
    output {
        Array[String] kmers = top.kmers
    }
    parameter_meta {
        counts: "A count and a k-mer on each line, the largest count first."
        most: "How many to give."
    }
}

task top {
    input {
        File counts
        Int most
    }
    command <<<
        head -n ~{most} '~{counts}' | tr -s ' ' | cut -d ' ' -f 3
    >>>
    output {
        Array[String] kmers = read_lines(stdout())
    }
    runtime {
        docker: "public.ecr.aws/debian/debian:stable-slim"
        cpu: 1
        memory: "512 MiB"
    }
}

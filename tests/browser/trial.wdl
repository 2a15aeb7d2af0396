version 1.1

workflow trial {
    input {
        Array[Int] sizes
        Array[String] samples
        String bad = "none"
        Boolean divide = false
    }
    parameter_meta {
        sizes: { description: "How long the reads are.", choices: [50, 75, 150] }
    }
    scatter (sample in samples) {
        call align { input: sample = sample, fail = sample == bad }
    }
    output {
        Array[String] said = align.said
        Int quotient = if divide then 1 / (length(sizes) - length(sizes)) else 0
    }
}

task align {
    input {
        String sample
        Boolean fail
    }
    command <<<
        sleep 2
        echo 'aligned ~{sample}'
        echo 'no reads of ~{sample}' >&2
        exit ~{if fail then 3 else 0}
    >>>
    output {
        String said = read_string(stdout())
    }
    runtime {
        docker: "public.ecr.aws/debian/debian:stable-slim"
    }
}

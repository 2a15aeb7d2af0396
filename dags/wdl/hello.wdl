version 1.0

workflow hello {
    meta {
        description: "Greets someone: the smallest workflow with an input and an output."
    }
    input {
        String name = "world"
    }
    call greet {
        input:
            name = name
    }
    output {
        String greeting = greet.greeting
    }
    parameter_meta {
        name: "Whom to greet."
    }
}

task greet {
    input {
        String name
    }
    command <<<
        echo "Hello, ~{name}!"
    >>>
    output {
        String greeting = read_string(stdout())
    }
    runtime {
        docker: "public.ecr.aws/debian/debian:stable-slim"
        cpu: 1
        memory: "512 MiB"
    }
}

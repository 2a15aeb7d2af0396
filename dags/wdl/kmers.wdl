version 1.0

workflow kmers {
    meta {
        description: "Counts the k-mers of two samples side by side, then compares them. Needs only bash and coreutils."
    }
    input {
        Int reads = 2000
        Int k = 5
        File? reference
    }
    call simulate as simulate_tumor {
        input:
            sample = "tumor",
            reads = reads
    }
    call simulate as simulate_normal {
        input:
            sample = "normal",
            reads = reads
    }
    call count_kmers as count_tumor {
        input:
            sample = "tumor",
            sequences = simulate_tumor.sequences,
            k = k
    }
    call count_kmers as count_normal {
        input:
            sample = "normal",
            sequences = simulate_normal.sequences,
            k = k
    }
    call compare {
        input:
            tumor = count_tumor.counts,
            normal = count_normal.counts,
            reference = reference
    }
    output {
        File tumor_counts = count_tumor.counts
        File normal_counts = count_normal.counts
        Int tumor_distinct = count_tumor.distinct
        Int normal_distinct = count_normal.distinct
        Array[String] only_in_tumor = compare.only_in_tumor
        File summary = compare.summary
    }
    parameter_meta {
        reads: "How many reads of 60 bases to simulate for each sample."
        k: "The length of a k-mer."
        reference: "A list of k-mers to leave out of the comparison, one a line."
    }
}

task simulate {
    input {
        String sample
        Int reads
    }
    command <<<
        set -euo pipefail
        # The sample's name is the seed, so a run gives the same reads each time.
        RANDOM=$(( $(printf '%s' '~{sample}' | cksum | cut -d ' ' -f 1) % 32768 ))
        bases=(A C G T)
        for (( i = 0; i < ~{reads}; i++ )); do
            read=""
            for (( j = 0; j < 60; j++ )); do read+=${bases[RANDOM % 4]}; done
            echo "$read"
        done > ~{sample}.txt
        wc -l < ~{sample}.txt >&2
    >>>
    output {
        File sequences = "~{sample}.txt"
    }
    runtime {
        docker: "public.ecr.aws/debian/debian:stable-slim"
        cpu: 1
        memory: "512 MiB"
    }
}

task count_kmers {
    input {
        String sample
        File sequences
        Int k
    }
    command <<<
        set -euo pipefail
        for (( start = 1; start + ~{k} - 1 <= 60; start += ~{k} )); do
            cut -c "$start-$(( start + ~{k} - 1 ))" '~{sequences}'
        done | sort | uniq -c | sort -k 1,1nr -k 2,2 > ~{sample}.counts.txt
        wc -l < ~{sample}.counts.txt
    >>>
    output {
        File counts = "~{sample}.counts.txt"
        Int distinct = read_int(stdout())
    }
    runtime {
        docker: "public.ecr.aws/debian/debian:stable-slim"
        cpu: 1
        memory: "1 GiB"
    }
}

task compare {
    input {
        File tumor
        File normal
        File? reference
    }
    command <<<
        set -euo pipefail
        tr -s ' ' < '~{tumor}' | cut -d ' ' -f 3 | sort > tumor.txt
        tr -s ' ' < '~{normal}' | cut -d ' ' -f 3 | cat - ~{"'" + reference + "'"} | sort -u > normal.txt
        comm -23 tumor.txt normal.txt | tee only_in_tumor.txt
        {
            echo "distinct in tumor:  $(wc -l < tumor.txt)"
            echo "distinct in normal: $(wc -l < normal.txt)"
            echo "only in tumor:      $(wc -l < only_in_tumor.txt)"
        } > summary.txt
    >>>
    output {
        Array[String] only_in_tumor = read_lines(stdout())
        File summary = "summary.txt"
    }
    runtime {
        docker: "public.ecr.aws/debian/debian:stable-slim"
        cpu: 1
        memory: "512 MiB"
    }
}

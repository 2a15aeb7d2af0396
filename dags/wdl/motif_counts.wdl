version 1.1

struct Simulation {
    Int reads
    Int length
    Int? seed
}

workflow motif_counts {
    meta {
        description: "Counts motifs in a sample's reads, one shard a motif; simulates the reads if none are given. Needs only bash, coreutils and grep."
        keywords: ["example", "scatter"]
    }
    input {
        String sample
        Array[String]+ motifs
        File? reads
        Simulation simulation = Simulation { reads: 500, length: 60 }
        String strand = "both"
        Int at_least = 1
        Boolean sort_by_count = true
        Map[String, String]? names
    }
    if (!defined(reads)) {
        call simulate {
            input:
                simulation = simulation,
                sample = sample
        }
    }
    scatter (motif in motifs) {
        call search {
            input:
                reads = select_first([reads, simulate.reads]),
                motif = motif,
                both_strands = strand == "both"
        }
    }
    call report {
        input:
            sample = sample,
            motifs = motifs,
            counts = search.count,
            names = select_first([names, {"TATA": "TATA box"}]),
            at_least = at_least,
            sort_by_count = sort_by_count
    }
    output {
        File table = report.table
        Array[Int] counts = search.count
        Int found = report.found
    }
    parameter_meta {
        sample: {
            description: "What to call the sample in the report.",
            pattern: "^[A-Za-z0-9_-]+$",
            example: "tumor-1"
        }
        motifs: {
            description: "The motifs to count.",
            pattern: "^[ACGT]*$"
        }
        reads: {
            label: "Reads",
            description: "The sample's reads, one a line.",
            patterns: ["*.txt"],
            group: "Reads"
        }
        simulation: {
            label: "Simulation",
            description: "The reads to simulate, if none are given.",
            group: "Reads"
        }
        strand: {
            description: "Where to look for a motif.",
            choices: [
                {name: "forward strand", value: "forward"},
                {name: "both strands", value: "both"}
            ],
            group: "Counting"
        }
        at_least: {
            description: "Leave motifs out that are found less often than this.",
            range: [0, 1000],
            group: "Counting"
        }
        sort_by_count: {
            description: "The most frequent motif first, rather than in the order given.",
            group: "Counting"
        }
        names: {
            description: "What to call a motif in the report.",
            example: {TATA: "TATA box"},
            group: "Counting"
        }
    }
}

task simulate {
    meta {
        description: "Makes reads of random bases; the same sample and seed always give the same."
    }
    input {
        Simulation simulation
        String sample
        Int seed = select_first([simulation.seed, 0])
    }
    command <<<
        set -euo pipefail
        RANDOM=$(( ($(printf '%s' '~{sample}' | cksum | cut -d ' ' -f 1) + ~{seed}) % 32768 ))
        bases=(A C G T)
        for (( i = 0; i < ~{simulation.reads}; i++ )); do
            read=""
            for (( j = 0; j < ~{simulation.length}; j++ )); do read+=${bases[RANDOM % 4]}; done
            echo "$read"
        done > reads.txt
        echo "simulated $(wc -l < reads.txt) reads" >&2
    >>>
    output {
        File reads = "reads.txt"
    }
    runtime {
        docker: "public.ecr.aws/debian/debian:stable-slim"
        cpu: 1
        memory: "512 MiB"
    }
}

task search {
    meta {
        description: "Counts where a motif stands in reads, without overlaps."
    }
    input {
        File reads
        String motif
        Boolean both_strands
    }
    command <<<
        set -euo pipefail
        motif='~{motif}'
        count() { { grep -o "$1" '~{reads}' || true; } | wc -l; }
        reverse=""
        for (( i = ${#motif} - 1; i >= 0; i-- )); do reverse+=${motif:i:1}; done
        complement=$(tr ACGT TGCA <<< "$reverse")
        found=$(count "$motif")
        echo "$motif: $found on the forward strand" >&2
        if ~{both_strands} && [ "$complement" != "$motif" ]; then
            backward=$(count "$complement")
            echo "$complement: $backward on the reverse strand" >&2
            found=$(( found + backward ))
        fi
        echo "$found"
    >>>
    output {
        Int count = read_int(stdout())
    }
    runtime {
        docker: "public.ecr.aws/debian/debian:stable-slim"
        cpu: 1
        memory: "512 MiB"
    }
}

task report {
    meta {
        description: "Writes a table of the motifs that were found."
    }
    input {
        String sample
        Array[String] motifs
        Array[Int] counts
        Map[String, String] names
        Int at_least
        Boolean sort_by_count
    }
    command <<<
        set -euo pipefail
        declare -A names
        while IFS=$'\t' read -r motif name; do names[$motif]=$name; done < '~{write_map(names)}'
        paste '~{write_lines(motifs)}' '~{write_lines(counts)}' |
            while IFS=$'\t' read -r motif count; do
                (( count < ~{at_least} )) || printf '%s\t%s\t%s\t%s\n' '~{sample}' "$motif" "$count" "${names[$motif]:-}"
            done > found.txt
        {
            printf 'sample\tmotif\tcount\tname\n'
            if ~{sort_by_count}; then sort -t $'\t' -k 3,3nr -k 2,2 found.txt; else cat found.txt; fi
        } > '~{sample}.motifs.tsv'
        wc -l < found.txt
    >>>
    output {
        File table = "~{sample}.motifs.tsv"
        Int found = read_int(stdout())
    }
    runtime {
        docker: "public.ecr.aws/debian/debian:stable-slim"
        cpu: 1
        memory: "512 MiB"
    }
}

version 1.1

# Variants of simulated reads of the phage lambda: the reads that come with bowtie2, in two lanes.

struct Reference {
  File fasta
  Array[File] index
}

task index_reference {
  input { File fasta }
  command <<<
    set -euo pipefail
    zcat ~{fasta} > lambda.fa
    bwa index lambda.fa
    samtools faidx lambda.fa
  >>>
  output {
    Reference reference = Reference { fasta: "lambda.fa", index: glob("lambda.fa.*") }
  }
  runtime { docker: "biocontainers/bwa:v0.7.17_cv1"  memory: "1 GB" }
}

task split_lane {
  input {
    File reads_1
    File reads_2
    Int lane
    Int lanes
  }
  command <<<
    set -euo pipefail
    for end in 1 2; do
      if [ $end = 1 ]; then reads=~{reads_1}; else reads=~{reads_2}; fi
      zcat $reads | paste - - - - | awk 'NR % ~{lanes} == ~{lane}' | tr '\t' '\n' | gzip > lane_$end.fq.gz
    done
  >>>
  output { Pair[File, File] reads = ("lane_1.fq.gz", "lane_2.fq.gz") }
  runtime { docker: "debian:12-slim" }
}

task align {
  input {
    Reference reference
    Pair[File, File] reads
    Int lane
  }
  command <<<
    set -euo pipefail
    bwa mem -R '@RG\tID:~{lane}\tSM:phage' ~{reference.fasta} ~{reads.left} ~{reads.right} | samtools sort -o lane.bam -
    samtools index lane.bam
  >>>
  output {
    File bam = "lane.bam"
    File bai = "lane.bam.bai"
  }
  runtime {
    docker: "biocontainers/bwa:v0.7.17_cv1"
    cpu: 1
    memory: "~{ceil(size(reads.left, "GiB")) + 1} GiB"
  }
}

task call_variants {
  input {
    Reference reference
    Array[File] bams
    Array[File] bais
  }
  command <<<
    set -euo pipefail
    bcftools mpileup -f ~{reference.fasta} ~{sep(" ", bams)} | bcftools call -mv --ploidy 1 -Oz -o calls.vcf.gz
    bcftools view -H calls.vcf.gz | wc -l > count.txt
    samtools merge -c - ~{sep(" ", bams)} | samtools view -c -F 4 - > mapped.txt
  >>>
  output {
    File vcf = "calls.vcf.gz"
    Int variants = read_int("count.txt")
    Int mapped = read_int("mapped.txt")
  }
  runtime { docker: "biocontainers/bcftools:v1.9-1-deb_cv1" }
}

workflow phage {
  input {
    File fasta
    File reads_1
    File reads_2
    Int lanes = 2
  }
  call index_reference { input: fasta }
  scatter (lane in range(lanes)) {
    call split_lane { input: reads_1, reads_2, lane, lanes }
    call align { input: reference = index_reference.reference, reads = split_lane.reads, lane }
  }
  call call_variants { input: reference = index_reference.reference, bams = align.bam, bais = align.bai }
  output {
    File vcf = call_variants.vcf
    Array[File] bams = align.bam
    Int variants = call_variants.variants
    Int mapped = call_variants.mapped
  }
}

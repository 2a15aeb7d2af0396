version 1.1

workflow samples {
  input { Array[Array[Int]+]+ lanes }

  scatter (lane in lanes) {
    Int width = length(lane)
    scatter (read in lane) {
      Int twice = read * 2
      call work { input: n = twice }
    }
    # ragged: as long as the outer variable says
    Array[Int] of_lane = work.n_out
    call work as sum_lane { input: n = length(of_lane) }
  }
  # the same variable in another scatter
  scatter (lane in work.n_out) {
    call work as again { input: n = lane[0] }
  }

  output {
    Array[Array[Int]] all_lanes = work.n_out
    Array[Int] sums = sum_lane.n_out
    Array[Int] widths = width
  }
}

task work {
  input { Int n }
  command <<< echo ~{n} >>>
  output { Int n_out = n }
  runtime { container: "debian" }
}

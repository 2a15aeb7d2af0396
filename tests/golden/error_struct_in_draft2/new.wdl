version 1.0
struct S { Int n }
task make { command {} output { S s = object { n: 1 } } }
task use { input { S s } command {} }

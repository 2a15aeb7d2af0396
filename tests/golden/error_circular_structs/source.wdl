version 1.1
struct A { B b }
struct B { A a }
workflow main { input { A a } }

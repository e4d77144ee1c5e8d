//! `eastwatch`: the client of the collector's API.

fn main() {}

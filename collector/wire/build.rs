//! Compiles the contract with a pure Rust protobuf compiler, so that no system `protoc` is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto/eastwatch.proto");
    let descriptors = protox::compile(["eastwatch.proto"], ["proto"])?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}

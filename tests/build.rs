//! Compiles what the peers of the gRPC tests speak, with a protobuf compiler in Rust.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=services/grpc/echo.proto");
    let descriptors = protox::compile(["echo.proto"], ["services/grpc"])?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}

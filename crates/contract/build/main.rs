//! Compiles `proto/` and generates, from the data classes in it, the code that splits, seals and redacts events.
//!
//! Fails when a field has no class, `NOT_PERSONAL` has no reason, or a field has no comment: the rules are in
//! `rules.rs`. What is generated is in `emit.rs`. No protoc is needed on the machine.

mod emit;
mod rules;

use std::path::{Path, PathBuf};

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    println!("cargo:rerun-if-changed={}", root.display());
    println!("cargo:rerun-if-changed=build");
    let mut files = protos(&root);
    files.sort();

    let mut compiler = protox::Compiler::new([&root]).expect("proto directory");
    compiler.include_source_info(true).include_imports(true);
    if let Err(error) = compiler.open_files(&files) {
        fail(&[format!("{error:?}")]);
    }
    // `file_descriptor_set()` drops custom options; the encoded form keeps them.
    let encoded = compiler.encode_file_descriptor_set();
    let pool = prost_reflect::DescriptorPool::decode(encoded.as_slice()).expect("own descriptors");
    let model = match rules::Model::read(&pool) {
        Ok(model) => model,
        Err(problems) => fail(&problems),
    };

    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("set by cargo"));
    std::fs::write(out.join("descriptors.bin"), &encoded).expect("write descriptors");
    std::fs::write(out.join("classified.rs"), emit::classified(&model)).expect("write generated code");

    let services = std::env::var_os("CARGO_FEATURE_SERVICES").is_some();
    tonic_prost_build::configure()
        .build_client(services)
        .build_server(services)
        .emit_rerun_if_changed(false)
        .compile_fds(compiler.file_descriptor_set())
        .expect("generate messages");
}

fn protos(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).expect("proto directory").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(protos(&path));
        } else if path.extension().is_some_and(|e| e == "proto") {
            found.push(path);
        }
    }
    found
}

fn fail(problems: &[String]) -> ! {
    for problem in problems {
        println!("cargo::error={}", problem.replace('\n', " "));
    }
    std::process::exit(1);
}

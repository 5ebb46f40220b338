//! The build refuses a contract in which a field says too little about itself.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../build/rules.rs"]
#[allow(dead_code)]
mod rules;

use std::path::Path;

use protox::Compiler;

/// What the build says to a message `Probe` with this body.
fn problems(body: &str) -> Vec<String> {
    let directory = std::env::temp_dir().join(format!("tasuki-rules-{}-{}", std::process::id(), body.len()));
    let file = directory.join("tasuki/probe/v1/probe.proto");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    let text = format!(
        "syntax = \"proto3\";\npackage tasuki.probe.v1;\nimport \"tasuki/privacy/v1/privacy.proto\";\n\
         import \"tasuki/common/v1/common.proto\";\n// A probe.\nmessage Probe {{\n{body}\n}}\n"
    );
    std::fs::write(&file, text).unwrap();
    let protos = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    let mut compiler = Compiler::new([directory.as_path(), protos.as_path()]).unwrap();
    compiler.include_source_info(true).include_imports(true);
    compiler.open_file(&file).unwrap();
    let encoded = compiler.encode_file_descriptor_set();
    std::fs::remove_dir_all(&directory).unwrap();
    let pool = prost_reflect::DescriptorPool::decode(encoded.as_slice()).unwrap();
    rules::Model::read(&pool).err().unwrap_or_default()
}

const CLASSED: &str = "[(tasuki.privacy.v1.data_class) = IDENTITY]";

#[test]
fn a_field_with_class_and_comment_passes() {
    assert_eq!(problems(&format!("// A name.\nstring name = 1 {CLASSED};")), Vec::<String>::new());
}

#[test]
fn a_field_without_a_class_is_refused() {
    let all = problems("// A name.\nstring name = 1;");
    assert!(all.iter().any(|p| p == "tasuki.probe.v1.Probe.name: field has no data_class"), "{all:?}");
}

#[test]
fn a_field_without_a_comment_is_refused() {
    let all = problems(&format!("string name = 1 {CLASSED};"));
    assert!(all.iter().any(|p| p == "tasuki.probe.v1.Probe.name: field has no comment"), "{all:?}");
}

#[test]
fn not_personal_without_a_reason_is_refused() {
    let all = problems("// A count.\nint32 n = 1 [(tasuki.privacy.v1.data_class) = NOT_PERSONAL];");
    assert!(all.iter().any(|p| p.contains("NOT_PERSONAL and a reason go together")), "{all:?}");
}

#[test]
fn a_map_is_refused() {
    let all = problems(&format!("// Words.\nmap<string, string> words = 1 {CLASSED};"));
    assert!(all.iter().any(|p| p.contains("maps are not allowed")), "{all:?}");
}

#[test]
fn an_event_whose_repeated_messages_cannot_be_sealed_apart_is_refused() {
    let body = "option (tasuki.privacy.v1.event) = {data_class: SUPPORT, schema: 1, ja: \"試\", en: \"Probe\"};\n\
                // Mixed.\nmessage Mixed {\n// Id.\nstring id = 1 [(tasuki.privacy.v1.data_class) = NOT_PERSONAL, \
                (tasuki.privacy.v1.reason) = OPAQUE_ID];\n// Name.\nstring name = 2 [(tasuki.privacy.v1.data_class) = \
                IDENTITY];\n}\n// All.\nrepeated Mixed all = 1 [(tasuki.privacy.v1.data_class) = BY_CONTENT];";
    let all = problems(body);
    assert!(all.iter().any(|p| p.contains("mixes personal and open fields")), "{all:?}");
}

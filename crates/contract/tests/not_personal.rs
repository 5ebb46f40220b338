//! Every field that is called NOT_PERSONAL stands in `docs/not-personal.md` with its reason, so that a reviewer sees
//! each new one. `TASUKI_BLESS=1` writes the page anew.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use prost_reflect::{DescriptorPool, Value};

#[test]
fn every_not_personal_field_is_listed_with_its_reason() {
    let pool = DescriptorPool::decode(tasuki_contract::DESCRIPTORS).unwrap();
    let class = pool.get_extension_by_name("tasuki.privacy.v1.data_class").unwrap();
    let reason = pool.get_extension_by_name("tasuki.privacy.v1.reason").unwrap();
    let reasons = pool.get_enum_by_name("tasuki.privacy.v1.NotPersonalReason").unwrap();
    let mut listed: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for message in pool.all_messages().filter(|m| m.full_name().starts_with("tasuki.")) {
        for field in message.fields() {
            let options = field.options();
            if options.get_extension(&class).as_ref() != &Value::EnumNumber(1) {
                continue;
            }
            let Value::EnumNumber(number) = *options.get_extension(&reason) else { panic!("no reason") };
            assert_ne!(number, 0, "{} says NOT_PERSONAL without a reason", field.full_name());
            let name = reasons.get_value(number).unwrap().name().to_owned();
            listed.entry(name).or_default().push(field.full_name().to_owned());
        }
    }
    let mut page = String::from(
        "# What is called not personal, and why\n\nWritten by a test of `crates/contract` from the options in \
         `proto/`; it fails when this page is not current\n(`TASUKI_BLESS=1 cargo test -p tasuki-contract` writes \
         it). Look at each new line: only what stands here may be in\nheaders, notices and logs.\n",
    );
    for (name, mut fields) in listed {
        fields.sort();
        let _ = write!(page, "\n## {name} ({})\n\n", fields.len());
        for field in fields {
            let _ = writeln!(page, "- `{field}`");
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/not-personal.md");
    if std::env::var_os("TASUKI_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &page).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == page, "docs/not-personal.md is not current; look at what changed, then TASUKI_BLESS=1");
}

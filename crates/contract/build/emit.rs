//! Writes the Rust code that follows from the model: the `Event` enum, its table of rules, and for every message
//! that events are made of how it is reduced and what classes it holds.

use std::fmt::Write as _;

use crate::rules::{BY_CONTENT, BY_FIELD, FACT, Field, INHERITED, Message, Model, NOT_PERSONAL, Shape};

pub fn classified(model: &Model) -> String {
    let mut out = String::new();
    events(model, &mut out);
    for message in model.messages.values() {
        classified_impl(message, &mut out);
    }
    out
}

fn events(model: &Model, out: &mut String) {
    let list = &model.events;
    let w = out;
    w.push_str("/// Any event of the log.\n#[derive(Clone, Debug, PartialEq)]\npub enum Event {\n");
    for e in list {
        let _ = writeln!(w, "    /// {}.\n    {}(crate::{}),", e.en, short(&e.full_name), path(&e.full_name));
    }
    w.push_str("}\n\n/// Every event type of the contract, in the order of their names.\npub static RULES: &[EventRule] = &[\n");
    for e in list {
        let classes: Vec<String> = e.classes.iter().map(|c| class(*c)).collect();
        let _ = writeln!(
            w,
            "    EventRule {{ type_name: {:?}, class: {}, schema: {}, ja: {:?}, en: {:?}, classes: &[{}], has_facts: {}, has_passages: {} }},",
            e.full_name,
            class(e.class),
            e.schema,
            e.ja,
            e.en,
            classes.join(", "),
            e.has_facts,
            e.has_passages
        );
    }
    w.push_str("];\n\nimpl Event {\n");
    w.push_str("    /// The rule of the event's type.\n    pub fn rule(&self) -> &'static EventRule {\n        match self {\n");
    for (i, e) in list.iter().enumerate() {
        let _ = writeln!(w, "            Self::{}(_) => &RULES[{i}],", short(&e.full_name));
    }
    w.push_str("        }\n    }\n\n    fn decode_as(type_name: &str, buf: &[u8]) -> Result<Self, DecodeEventError> {\n        use prost::Message as _;\n        Ok(match type_name {\n");
    for e in list {
        let _ = writeln!(
            w,
            "            {:?} => Self::{}(crate::{}::decode(buf)?),",
            e.full_name,
            short(&e.full_name),
            path(&e.full_name)
        );
    }
    w.push_str("            _ => return Err(DecodeEventError::UnknownType(type_name.to_owned())),\n        })\n    }\n\n");
    w.push_str("    /// The encoded message, without its type.\n    pub fn encode_to_vec(&self) -> Vec<u8> {\n        use prost::Message as _;\n        match self {\n");
    for e in list {
        let _ = writeln!(w, "            Self::{}(m) => m.encode_to_vec(),", short(&e.full_name));
    }
    w.push_str("        }\n    }\n}\n\nimpl Classified for Event {\n    fn retain(&mut self, lens: &dyn Lens) -> bool {\n        match self {\n");
    for e in list {
        let _ = writeln!(w, "            Self::{}(m) => m.retain(lens),", short(&e.full_name));
    }
    w.push_str("        }\n    }\n    fn visit(&self, sink: &mut dyn Sink) {\n        match self {\n");
    for e in list {
        let _ = writeln!(w, "            Self::{}(m) => m.visit(sink),", short(&e.full_name));
    }
    w.push_str("        }\n    }\n}\n\n");
    for e in list {
        let _ = writeln!(
            w,
            "impl From<crate::{p}> for Event {{ fn from(m: crate::{p}) -> Self {{ Self::{s}(m) }} }}",
            p = path(&e.full_name),
            s = short(&e.full_name)
        );
    }
    w.push('\n');
}

fn classified_impl(message: &Message, w: &mut String) {
    let _ = writeln!(w, "impl Classified for crate::{} {{", path(&message.full_name));
    w.push_str("    #[allow(unused_variables, clippy::too_many_lines)]\n    fn retain(&mut self, lens: &dyn Lens) -> bool {\n");
    for f in &message.fields {
        retain_field(f, w);
    }
    w.push_str(
        "        true\n    }\n    #[allow(unused_variables)]\n    fn visit(&self, sink: &mut dyn Sink) {\n",
    );
    for f in &message.fields {
        visit_field(f, w);
    }
    w.push_str("    }\n}\n\n");
}

fn rule(f: &Field) -> String {
    let class = if f.class == BY_FIELD { "named(self.data_class())".to_owned() } else { class(f.class) };
    format!("FieldRule {{ class: {class}, in_summary: {}, part: {} }}", f.in_summary, part(f.part))
}

fn retain_field(f: &Field, w: &mut String) {
    let name = ident(&f.name);
    if matches!(f.shape, Shape::OpenOneof) || f.class == INHERITED {
        return;
    }
    let judged = f.class != BY_CONTENT;
    if judged {
        let clear = match f.shape {
            Shape::Emptyable | Shape::Messages(_) => format!("self.{name}.clear()"),
            Shape::Plain => format!("self.{name} = Default::default()"),
            Shape::Message(_) => format!("self.{name} = None"),
            Shape::OpenOneof => return,
        };
        let _ = writeln!(w, "        if !lens.field({}) {{ {clear}; }}", rule(f));
    }
    // What was judged by its content alone and lost all of it goes too: an empty shell would tell that it was there,
    // and would stand twice once the pieces of an event are merged.
    let (stays, goes) = if judged {
        ("!lens.looks_inside() || m.retain(lens)", "lens.looks_inside() && !m.retain(lens)")
    } else {
        ("m.retain(lens) && *m != Default::default()", "!m.retain(lens) || *m == Default::default()")
    };
    match &f.shape {
        Shape::Messages(_) => {
            let _ = writeln!(w, "        self.{name}.retain_mut(|m| {stays});");
        }
        Shape::Message(Some(_)) => {
            let _ = writeln!(
                w,
                "        if self.{name}.as_mut().is_some_and(|m| {goes}) {{ self.{name} = None; }}"
            );
        }
        _ => {}
    }
}

fn visit_field(f: &Field, w: &mut String) {
    let name = ident(&f.name);
    if matches!(f.shape, Shape::OpenOneof) || f.class == INHERITED {
        return;
    }
    let present = match f.shape {
        Shape::Emptyable | Shape::Messages(_) => format!("!self.{name}.is_empty()"),
        Shape::Plain => format!("self.{name} != Default::default()"),
        Shape::Message(_) => format!("self.{name}.is_some()"),
        Shape::OpenOneof => return,
    };
    if f.class != BY_CONTENT && f.class != NOT_PERSONAL {
        let _ = writeln!(w, "        if {present} {{ sink.field({}); }}", rule(f));
    }
    match &f.shape {
        Shape::Messages(_) => {
            let _ = writeln!(w, "        self.{name}.iter().for_each(|m| m.visit(sink));");
        }
        Shape::Message(Some(_)) => {
            let _ = writeln!(w, "        self.{name}.iter().for_each(|m| m.visit(sink));");
        }
        _ => {}
    }
}

fn short(full_name: &str) -> &str {
    full_name.rsplit('.').next().unwrap_or(full_name)
}

fn path(full_name: &str) -> String {
    debug_assert_ne!(full_name, FACT);
    full_name.trim_start_matches("tasuki.").replace('.', "::")
}

fn ident(name: &str) -> String {
    if matches!(name, "type" | "ref" | "match" | "move" | "use") {
        format!("r#{name}")
    } else {
        name.to_owned()
    }
}

fn class(number: i32) -> String {
    let name = match number {
        1 => "NotPersonal",
        2 => "Lead",
        3 => "Identity",
        4 => "CareProcedure",
        5 => "Diagnosis",
        6 => "Instruction",
        7 => "FamilyCircumstances",
        8 => "ReferralState",
        9 => "Handoff",
        10 => "Question",
        11 => "Minutes",
        12 => "LocalIssue",
        13 => "ReaderLog",
        14 => "Support",
        15 => "Consent",
        16 => "Restricted",
        17 => "Sealed",
        32 => "ByField",
        _ => "Unspecified",
    };
    format!("DataClass::{name}")
}

fn part(number: i32) -> &'static str {
    match number {
        1 => "SealedPart::OtherSubject",
        2 => "SealedPart::OwnAgency",
        _ => "SealedPart::Stream",
    }
}

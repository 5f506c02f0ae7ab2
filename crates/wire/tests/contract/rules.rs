//! Which changes of a contract older programs survive.

use std::collections::BTreeMap;

use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet};

/// Clients skip frames of a kind that they do not know, so this oneof may grow. A reader has to understand every choice of
/// any other oneof.
const GROWS: &str = "calculator.v1.SubscribeResponse.frame";

/// Everything that a contract promises, each with its meaning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Contract(BTreeMap<String, String>);

impl Contract {
    pub(crate) fn of(set: &FileDescriptorSet) -> Self {
        let mut contract = Self::default();
        for file in &set.file {
            let package = file.package();
            for message in &file.message_type {
                contract.add_message(package, message);
            }
            for one in &file.enum_type {
                contract.add_enum(package, one);
            }
            for service in &file.service {
                let service_name = format!("{package}.{}", service.name());
                contract.add(format!("service {service_name}"), String::new());
                for method in &service.method {
                    let stream = |streams| if streams { "stream " } else { "" };
                    let (input, output) = (local(method.input_type()), local(method.output_type()));
                    let (client, server) = (stream(method.client_streaming()), stream(method.server_streaming()));
                    let meaning = format!("{client}{input} returns {server}{output}");
                    contract.add(format!("method {service_name}.{}", method.name()), meaning);
                }
            }
        }
        contract
    }

    fn add(&mut self, what: String, meaning: String) {
        self.0.insert(what, meaning);
    }

    fn add_message(&mut self, parent: &str, message: &DescriptorProto) {
        let name = format!("{parent}.{}", message.name());
        self.add(format!("message {name}"), String::new());
        for field in &message.field {
            let oneof = oneof(message, field);
            let meaning = format!("{} {} {}{oneof}", label(field), kind(field), field.name());
            self.add(format!("field {name} {}", field.number()), meaning);
        }
        for nested in &message.nested_type {
            self.add_message(&name, nested);
        }
        for nested in &message.enum_type {
            self.add_enum(&name, nested);
        }
    }

    fn add_enum(&mut self, parent: &str, one: &EnumDescriptorProto) {
        let name = format!("{parent}.{}", one.name());
        self.add(format!("enum {name}"), String::new());
        for value in &one.value {
            self.add(format!("value {name} {}", value.number()), value.name().to_owned());
        }
    }

    /// Reads lines of `what: meaning`, and comments that begin with `#`.
    pub(crate) fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let split = |line: &str| {
            let (what, meaning) = line.split_once(':').unwrap_or((line, ""));
            (what.to_owned(), meaning.trim_start().to_owned())
        };
        Self(lines.map(split).collect())
    }

    /// What is here and not in `before`, as [`parse`](Self::parse) reads it.
    pub(crate) fn since(&self, before: &Self) -> String {
        let new = self.0.iter().filter(|(what, _)| !before.0.contains_key(*what));
        new.map(|(what, meaning)| if meaning.is_empty() { format!("{what}\n") } else { format!("{what}: {meaning}\n") })
            .collect()
    }

    fn has(&self, what: &str) -> bool {
        self.0.contains_key(what)
    }

    fn has_oneof(&self, message: &str, oneof: &str) -> bool {
        let (of, member) = (format!("field {message} "), format!("(oneof {oneof})"));
        self.0.iter().any(|(what, meaning)| what.starts_with(&of) && meaning.ends_with(&member))
    }
}

/// The changes that break older programs, each with what to do instead.
pub(crate) fn breaks(before: &Contract, after: &Contract) -> Vec<String> {
    let mut found = Vec::new();
    for (what, meaning) in &before.0 {
        match after.0.get(what) {
            None => found.push(format!(
                "{what} ({meaning}) is gone: keep it, and mark it as deprecated. Older programs send and expect it, and \
                 its number and name can never stand for anything else"
            )),
            Some(now) if now != meaning => found.push(format!(
                "{what} was \"{meaning}\" and is \"{now}\": leave it as it was, and add a new field or method beside it"
            )),
            Some(_) => {}
        }
    }
    for (what, meaning) in after.0.iter().filter(|(what, _)| !before.has(what)) {
        let mut words = what.split(' ');
        let (kind, owner) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        if kind == "value" && before.has(&format!("enum {owner}")) {
            found.push(format!(
                "{what} ({meaning}) is a new value: older programs know nothing of it. Keep to the values that there \
                 are, and say more in a new field beside the enum"
            ));
        }
        let oneof = meaning.split_once("(oneof ").and_then(|(_, oneof)| oneof.strip_suffix(')'));
        if let Some(oneof) = oneof.filter(|oneof| kind == "field" && before.has_oneof(owner, oneof))
            && format!("{owner}.{oneof}") != GROWS
        {
            found.push(format!(
                "{what} ({meaning}) is a new choice: to older programs it looks as if nothing was chosen. Add a field \
                 outside of the oneof that they may ignore"
            ));
        }
    }
    found
}

/// A type's name as it is written in the file, without the leading dot.
fn local(name: &str) -> &str {
    name.trim_start_matches('.')
}

fn label(field: &FieldDescriptorProto) -> &'static str {
    match field.label() {
        Label::Repeated => "repeated",
        Label::Required => "required",
        Label::Optional if field.proto3_optional() => "optional",
        Label::Optional => "singular",
    }
}

fn kind(field: &FieldDescriptorProto) -> String {
    match field.r#type() {
        Type::Message | Type::Enum | Type::Group => local(field.type_name()).to_owned(),
        scalar => scalar.as_str_name().trim_start_matches("TYPE_").to_lowercase(),
    }
}

fn oneof(message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    let index = field.oneof_index.filter(|_| !field.proto3_optional());
    let oneof = index.and_then(|index| message.oneof_decl.get(usize::try_from(index).ok()?));
    oneof.map_or_else(String::new, |oneof| format!(" (oneof {})", oneof.name()))
}

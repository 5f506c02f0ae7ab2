//! The contract keeps what was published, because programs of different ages meet.
//!
//! `proto/baseline/published.txt` has a line for each message, field, enum value and method that a published version had.
//! What was added since gets its line when it is published.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests fail by panicking and report by printing")]

mod rules;

use std::fs;

use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, EnumValueDescriptorProto, FieldDescriptorProto, FileDescriptorSet,
    MethodDescriptorProto,
};
use rules::{Contract, breaks};

fn set() -> FileDescriptorSet {
    FileDescriptorSet::decode(wire::DESCRIPTORS).unwrap()
}

fn published() -> Contract {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../proto/baseline/published.txt");
    Contract::parse(&fs::read_to_string(path).unwrap())
}

#[test]
fn the_contract_keeps_what_was_published() {
    let (published, now) = (published(), Contract::of(&set()));
    let broken = breaks(&published, &now);
    assert!(broken.is_empty(), "older programs would fail:\n{}", broken.join("\n"));
    println!("to be added to the baseline with the next version:\n{}", now.since(&published));
}

fn message<'a>(set: &'a mut FileDescriptorSet, name: &str) -> &'a mut DescriptorProto {
    set.file.iter_mut().flat_map(|file| &mut file.message_type).find(|message| message.name() == name).unwrap()
}

fn field<'a>(set: &'a mut FileDescriptorSet, of: &str, name: &str) -> &'a mut FieldDescriptorProto {
    message(set, of).field.iter_mut().find(|field| field.name() == name).unwrap()
}

fn enumeration<'a>(set: &'a mut FileDescriptorSet, name: &str) -> &'a mut EnumDescriptorProto {
    set.file.iter_mut().flat_map(|file| &mut file.enum_type).find(|one| one.name() == name).unwrap()
}

fn methods(set: &mut FileDescriptorSet) -> &mut Vec<MethodDescriptorProto> {
    let mut services = set.file.iter_mut().flat_map(|file| &mut file.service);
    &mut services.find(|service| service.name() == "CalculatorService").unwrap().method
}

fn new_field(name: &str, number: i32) -> FieldDescriptorProto {
    FieldDescriptorProto {
        name: Some(name.to_owned()),
        number: Some(number),
        label: Some(Label::Optional.into()),
        r#type: Some(Type::Uint64.into()),
        ..Default::default()
    }
}

fn new_value(name: &str, number: i32) -> EnumValueDescriptorProto {
    EnumValueDescriptorProto { name: Some(name.to_owned()), number: Some(number), options: None }
}

/// What the check finds when the contract is changed.
fn found(change: impl FnOnce(&mut FileDescriptorSet)) -> Vec<String> {
    let before = Contract::of(&set());
    let mut after = set();
    change(&mut after);
    breaks(&before, &Contract::of(&after))
}

#[test]
fn a_change_that_breaks_older_programs_is_found() {
    type Change = fn(&mut FileDescriptorSet);
    let changes: [(&str, &str, Change); 22] = [
        ("a removed field", "Welcome 4", |set| message(set, "Welcome").field.retain(|field| field.name() != "floor")),
        ("a renumbered field", "Welcome 4", |set| field(set, "Welcome", "floor").number = Some(99)),
        ("a renamed field", "floor", |set| field(set, "Welcome", "floor").name = Some("bottom".to_owned())),
        ("a retyped field", "sint64", |set| field(set, "Snapshot", "value").set_type(Type::Int64)),
        ("another message in a field", "Batch", |set| {
            field(set, "SubscribeResponse", "batch").type_name = Some(".calculator.v1.Heartbeat".to_owned());
        }),
        ("another enum in a field", "Verdict", |set| {
            field(set, "Welcome", "verdict").type_name = Some(".calculator.v1.Standing".to_owned());
        }),
        ("a field that repeats", "repeated", |set| field(set, "Welcome", "tail").set_label(Label::Repeated)),
        ("a field that no longer repeats", "repeated", |set| {
            field(set, "Batch", "operations").set_label(Label::Optional);
        }),
        ("a field without presence", "optional", |set| {
            field(set, "SubmitRequest", "expected_index").proto3_optional = None;
            field(set, "SubmitRequest", "expected_index").oneof_index = None;
        }),
        ("a field with presence", "optional", |set| field(set, "Welcome", "tail").proto3_optional = Some(true)),
        ("a field out of its oneof", "oneof kind", |set| field(set, "Operation", "add").oneof_index = None),
        ("a new operation", "Operation 7", |set| {
            let kind = FieldDescriptorProto { oneof_index: Some(0), ..new_field("cube", 7) };
            message(set, "Operation").field.push(kind);
        }),
        ("a removed value", "STANDING_AHEAD", |set| {
            enumeration(set, "Standing").value.retain(|value| value.name() != "STANDING_AHEAD");
        }),
        ("a new value", "SNAPSHOT_REASON_DAMAGED", |set| {
            enumeration(set, "SnapshotReason").value.push(new_value("SNAPSHOT_REASON_DAMAGED", 6));
        }),
        ("a renamed value", "VERDICT_RESUMED", |set| {
            enumeration(set, "Verdict").value[1].name = Some("VERDICT_WELCOME_BACK".to_owned());
        }),
        ("a renumbered value", "VERDICT_RESUMED", |set| enumeration(set, "Verdict").value[1].number = Some(9)),
        ("a removed message", "Heartbeat", |set| {
            set.file.iter_mut().for_each(|file| file.message_type.retain(|message| message.name() != "Heartbeat"));
        }),
        ("a renamed package", "calculator.v1", |set| {
            set.file.iter_mut().for_each(|file| file.package = Some("calculator.v2".to_owned()));
        }),
        ("a removed method", "ReadEvents", |set| methods(set).retain(|method| method.name() != "ReadEvents")),
        ("a call that no longer streams", "Subscribe", |set| {
            methods(set).iter_mut().for_each(|method| method.server_streaming = None);
        }),
        ("a call with another request", "Submit", |set| {
            methods(set).iter_mut().for_each(|method| method.input_type = Some(".calculator.v1.Replica".to_owned()));
        }),
        ("a removed service", "sharedcalculator.Leader", |set| {
            set.file.iter_mut().for_each(|file| file.service.retain(|service| service.name() != "Leader"));
        }),
    ];
    for (what, named, change) in changes {
        let found = found(change);
        assert!(found.iter().any(|line| line.contains(named) && line.contains(": ")), "{what}: {found:?}");
    }
}

#[test]
fn a_change_that_older_programs_ignore_passes() {
    let grown = found(|set| {
        message(set, "Welcome").field.push(new_field("zone", 50));
        message(set, "GetStatusRequest").field.push(new_field("verbose", 1));
        // A frame of a kind that a client does not know is skipped.
        let frame = FieldDescriptorProto { oneof_index: Some(0), ..new_field("news", 6) };
        message(set, "SubscribeResponse").field.push(frame);
        let message = DescriptorProto { name: Some("News".to_owned()), ..Default::default() };
        let value = vec![new_value("MOOD_UNSPECIFIED", 0), new_value("MOOD_FINE", 1)];
        let mood = EnumDescriptorProto { name: Some("Mood".to_owned()), value, ..Default::default() };
        set.file[0].message_type.push(message);
        set.file[0].enum_type.push(mood);
        let ask = MethodDescriptorProto { name: Some("AskNews".to_owned()), ..methods(set)[0].clone() };
        methods(set).push(ask);
        methods(set)[0].options = Some(prost_types::MethodOptions { deprecated: Some(true), ..Default::default() });
    });
    assert!(grown.is_empty(), "{grown:?}");
}

#[test]
fn a_baseline_is_read_as_it_is_written() {
    let now = Contract::of(&set());
    let text = format!("# A comment.\n\n{}", now.since(&Contract::default()));
    assert_eq!(Contract::parse(&text), now);
}

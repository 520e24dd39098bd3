//! Turns the nodes about the command itself into types: argv or script, environment,
//! secrets, capabilities. Values of secrets never pass through here.

use crate::spec::diagnostic::Finding;
use crate::spec::read::{Children, Reader, shorten, unknown};
use crate::spec::value::{self, form};
use crate::spec::{Capability, Command, Secret, Spec, Variable};
use crate::units::{Origin, Spanned};

/// Reads `env`, `pass-env`, `secret`, `capabilities`, `command` or `script` into `spec`.
pub(crate) fn process(mut reader: Reader<'_, '_>, spec: &mut Spec) {
    match reader.node.name.as_ref() {
        "env" => return env(reader, spec),
        "pass-env" => {
            for entry in reader.arguments("the name of a variable") {
                let name = reader.read(entry, value::variable_name, "the name of a variable");
                spec.pass_env.extend(name.map(|it| Spanned::new(it, Origin::Spec(entry.span))));
            }
        }
        "secret" => spec.secrets.extend(secret(&mut reader).map(|it| reader.spanned(it))),
        "capabilities" => spec.capabilities = capabilities(&mut reader),
        "command" => {
            let command = command(&mut reader).map(|it| reader.spanned(it));
            set_command(&mut reader, command, spec);
        }
        _ => {
            let script = script(&mut reader).map(|it| reader.spanned(it));
            set_command(&mut reader, script, spec);
        }
    }
    reader.finish(Children::None);
}

fn set_command(reader: &mut Reader<'_, '_>, command: Option<Spanned<Command>>, spec: &mut Spec) {
    if spec.command.is_some() {
        let finding = Finding::new(reader.node.name_span, "`command` and `script` exclude each other");
        reader.out.push(finding.label("the second one"));
    }
    spec.command = spec.command.take().or(command);
}

/// Every property of `env` is a variable, so it is not read by the usual rules.
fn env(reader: Reader<'_, '_>, spec: &mut Spec) {
    let Reader { node, out, .. } = reader;
    if node.entries.is_empty() {
        out.push(Finding::new(node.span, "`env` needs a variable").label("write `env NAME=\"value\"`"));
    }
    let mut reader = Reader::new(node, out);
    for entry in &node.entries {
        let Some(name) = &entry.name else {
            let finding =
                Finding::new(entry.span, "a variable needs a name and a value").label("write `NAME=\"value\"`");
            reader.out.push(finding.help("a variable of the caller is passed on by `pass-env`"));
            continue;
        };
        if let Err(message) = value::variable_name(name) {
            reader.out.push(Finding::new(entry.span, message).label("not a name"));
        }
        let value = reader.read(entry, value::c_text, "a text in quotes");
        let variable = value.map(|value| Variable { name: name.clone().into_owned(), value });
        spec.env.extend(variable.map(|it| Spanned::new(it, Origin::Spec(entry.span))));
    }
    if node.children.is_some() {
        reader.out.push(Finding::new(node.name_span, "`env` takes no block").label("has a block"));
    }
}

fn secret(reader: &mut Reader<'_, '_>) -> Option<Secret> {
    let first = reader.argument("a name or a path");
    let variable = reader.property_read("env", value::variable_name, "a variable of the caller");
    let source = reader.property_read("file", value::host_path, form::OUTSIDE);
    let (env, file) = (reader.property("env").is_some(), reader.property("file").is_some());
    if env == file {
        let finding = Finding::new(reader.node.span, "`secret` needs one of `env=` and `file=`");
        reader.out.push(finding.label(if env { "both are here" } else { "neither is here" }));
        return None;
    }
    let first = first?;
    if env {
        let name = reader.read(first, value::variable_name, "the name of a variable inside")?;
        if name.starts_with('/') {
            let finding = Finding::new(first.span, "a secret from a variable becomes a variable, and this is a path");
            reader.out.push(finding.label("not the name of a variable").help("name a file of the host with `file=`"));
        }
        return Some(Secret::Env { name, variable: variable?.value });
    }
    let destination = reader.read(first, value::mount_point, form::INSIDE)?;
    Some(Secret::File { destination, source: source?.value })
}

fn capabilities(reader: &mut Reader<'_, '_>) -> Vec<Spanned<Capability>> {
    let mut capabilities: Vec<Spanned<Capability>> = Vec::new();
    for entry in reader.arguments("the name of a capability") {
        let Some(text) = reader.text(entry).filter(|_| !reader.out.is_full()) else { continue };
        let Some(capability) = Capability::all().find(|it| it.name == text) else {
            let upper = text.to_uppercase();
            let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
            let message = format!("unknown capability `{}`", shorten(text));
            let mut finding = unknown(entry.span, message, bare, Capability::all().map(|it| it.name));
            if upper.starts_with("CAP_") {
                finding = finding.help("names stand without `CAP_`");
            }
            reader.out.push(finding);
            continue;
        };
        if capabilities.iter().any(|it| it.value == capability) {
            let message = format!("the capability `{text}` comes twice");
            reader.out.push(Finding::new(entry.span, message).label("the second one"));
            continue;
        }
        capabilities.push(Spanned::new(capability, Origin::Spec(entry.span)));
    }
    capabilities
}

fn command(reader: &mut Reader<'_, '_>) -> Option<Command> {
    let entries = reader.arguments("a program");
    let mut argv = Vec::with_capacity(entries.len());
    for entry in entries {
        argv.push(reader.read(entry, value::c_text, "a text in quotes"));
    }
    let argv: Vec<String> = argv.into_iter().collect::<Option<_>>()?;
    if argv.first().is_some_and(String::is_empty) {
        let finding = Finding::new(reader.node.span, "the name of the program is empty").label("nothing to run");
        reader.out.push(finding);
    }
    Some(Command::Argv(argv)).filter(|it| *it != Command::Argv(Vec::new()))
}

fn script(reader: &mut Reader<'_, '_>) -> Option<Command> {
    let text = reader.argument("the text of the script").and_then(|it| reader.text(it)).map(str::to_owned);
    let interpreter = reader.property_read("interpreter", value::inside_path, form::INSIDE);
    let interpreter = interpreter.map_or_else(|| "/bin/sh".to_owned(), |it| it.value.to_string());
    Some(Command::Script { text: text?, interpreter })
}

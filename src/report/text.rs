//! An error as text for the caller's terminal. Returns it, never prints it, and lets
//! nothing that a file or an image is named act on the terminal (CVE-2023-28101).

use anstyle::{AnsiColor, Style};

use crate::error::Error;
use crate::units::{Origin, SpecText, visible};

/// Whether the reader understands colours; whoever knows the stream decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    Plain,
    Ansi,
}

/// Returns the error in up to three lines, with a final newline: what failed, where
/// it was asked for, and what to change.
#[must_use]
pub fn text(error: &Error, spec: Option<SpecText<'_>>, colour: Colour) -> String {
    let style = |style: Style| match colour {
        Colour::Plain => Style::new(),
        Colour::Ansi => style,
    };
    let red = style(AnsiColor::Red.on_default().bold());
    let cyan = style(AnsiColor::Cyan.on_default());
    let mut shown = format!("{red}sbx:{red:#} {}\n", visible(&error.to_string()));
    match (error.origin, spec) {
        (Origin::Spec(span), Some(spec)) => {
            let (name, (line, column)) = spec.place(span);
            shown.extend(["  at ", &visible(name), &format!(":{line}:{column}\n")]);
        }
        (Origin::CommandLine, _) => shown.push_str("  at the command line\n"),
        (Origin::Default | Origin::Image | Origin::Spec(_), _) => {}
    }
    if let Some(hint) = &error.hint {
        shown.extend([format!("  {cyan}hint:{cyan:#} "), visible(hint).into_owned(), "\n".to_owned()]);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::{Colour, text};
    use crate::error::{Error, Kind};
    use crate::units::{Extended, Origin, Span, SpecText};

    const SPEC: SpecText<'_> = SpecText { name: "a\u{1b}[2J.kdl", text: "rootfs \"host\"\nmounts\n", extended: &[] };

    #[test]
    fn an_error_says_what_where_and_what_to_change() {
        let origin = Origin::Spec(Span { start: 14, end: 20 });
        let error = Error::new(Kind::Setup, "cannot mount on `/w\u{202e}x\n`").with_errno(1).with_hint("do").at(origin);
        insta::assert_snapshot!(text(&error, Some(SPEC), Colour::Plain), @r#"
        sbx: cannot mount on `/w\u{202e}x\n`: Operation not permitted (EPERM)
          at a\u{1b}[2J.kdl:2:1
          hint: do
        "#);
        insta::assert_snapshot!(text(&error, None, Colour::Plain), @r#"
        sbx: cannot mount on `/w\u{202e}x\n`: Operation not permitted (EPERM)
          hint: do
        "#);
        insta::assert_snapshot!(visible_escapes(&text(&error, Some(SPEC), Colour::Ansi)), @r#"
        ␛[1m␛[31msbx:␛[0m cannot mount on `/w\u{202e}x\n`: Operation not permitted (EPERM)
          at a\u{1b}[2J.kdl:2:1
          ␛[36mhint:␛[0m do
        "#);
    }

    #[test]
    fn an_error_without_errno_place_and_hint_is_one_line() {
        let error = Error::new(Kind::Usage, "no command");
        assert_eq!(text(&error, Some(SPEC), Colour::Plain), "sbx: no command\n");
        let error = error.at(Origin::CommandLine);
        assert_eq!(text(&error, None, Colour::Plain), "sbx: no command\n  at the command line\n");
    }

    #[test]
    fn a_place_in_a_file_that_is_extended_names_that_file() {
        let extended = |name: &str, start| Extended { name: name.to_owned(), text: "a\nb\n".to_owned(), start };
        let extended = [extended("base.kdl", 22), extended("deep.kdl", 27)];
        let spec = SpecText { extended: &extended, ..SPEC };
        for (start, place) in [(14, "2J.kdl:2:1"), (22, "base.kdl:1:1"), (24, "base.kdl:2:1"), (29, "deep.kdl:2:1")] {
            let error = Error::new(Kind::Setup, "no").at(Origin::Spec(Span { start, end: start + 1 }));
            assert!(text(&error, Some(spec), Colour::Plain).contains(place), "{start}");
        }
    }

    fn visible_escapes(text: &str) -> String {
        text.replace('\u{1b}', "␛")
    }
}

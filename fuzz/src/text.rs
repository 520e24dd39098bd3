//! Texts that go to a terminal.

/// Checks that nothing in `text` acts on a terminal or changes how the rest is read.
///
/// # Panics
/// Where something does.
pub fn is_tame(text: &str) {
    let wild = |c: &char| {
        (c.is_control() && *c != '\n')
            || matches!(c, '\u{200E}' | '\u{200F}' | '\u{061C}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
    };
    if let Some(found) = text.chars().find(wild) {
        panic!("{found:?} goes to the terminal in {text:?}");
    }
}

//! Reads the values of `test` that are written as text: its name, parts of texts, patterns. Every error is a
//! lower-case fragment, as in `value`.

/// The most characters of a name: it is a line of the display, and part of the name of a file.
const NAME_MAX: usize = 120;

/// Reads the name of a test.
///
/// # Errors
/// What is wrong with `text`: empty, of more than one line, or too long.
pub fn test_name(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("the name of a test is empty".to_owned());
    }
    if text.contains(char::is_control) || text.trim() != text {
        return Err("the name of a test is one line without spaces around it".to_owned());
    }
    if text.chars().count() > NAME_MAX {
        return Err(format!("the name of a test has at most {NAME_MAX} characters"));
    }
    Ok(text.to_owned())
}

/// Reads a text that another one has to contain.
///
/// # Errors
/// It is empty, and every text contains that.
pub fn part(text: &str) -> Result<String, String> {
    match text {
        "" => Err("every text contains the empty one".to_owned()),
        text => Ok(text.to_owned()),
    }
}

/// Reads a regular expression, in the syntax of the crate `regex-lite`.
///
/// # Errors
/// What is wrong with it; every text matches the empty one.
pub fn pattern(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("every text matches the empty pattern".to_owned());
    }
    match regex_lite::Regex::new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("the pattern `{text}` cannot be read: {error}")),
    }
}

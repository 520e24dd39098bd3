//! The ranges of subordinate ids that /etc/subuid and /etc/subgid give to a user,
//! subuid(5). Pure: it opens no file.

/// One line: `count` ids from `start` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    pub start: u32,
    pub count: u32,
}

/// Returns the ranges of the user, who stands there by name or by number. A malformed line
/// gives nothing, as with newuidmap(1).
#[must_use]
pub fn ranges(text: &str, name: Option<&str>, uid: u32) -> Vec<Range> {
    let number = uid.to_string();
    text.lines().filter_map(|line| parse(line, name, &number)).collect()
}

fn parse(line: &str, name: Option<&str>, number: &str) -> Option<Range> {
    let mut fields = line.split(':');
    let (owner, start, count) = (fields.next()?, fields.next()?, fields.next()?);
    if fields.next().is_some() || (Some(owner) != name && owner != number) {
        return None;
    }
    let range = Range { start: start.parse().ok()?, count: count.parse().ok()? };
    (range.count > 0 && range.start.checked_add(range.count - 1).is_some()).then_some(range)
}

/// Returns the name of `uid` in the text of passwd(5).
#[must_use]
pub fn user_name(passwd: &str, uid: u32) -> Option<&str> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
    })
}

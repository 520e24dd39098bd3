//! Reads the values that are written as text: sizes, times, rates, lists. The flags of
//! the command line are read by the same functions. It knows no node and no span.
//!
//! Every error is a lower-case fragment that holds the text in backticks.

use std::time::Duration;

use crate::spec::{HostPath, ReportTarget, Stdin, Who};
use crate::units::{AbsPath, Bytes, MilliCores};

/// What stands at the caret under a value that cannot be read.
pub mod form {
    pub const SIZE: &str = "a size is a number with K, M, G or T: `512M`";
    pub const TIME: &str = "a time carries units: `500ms`, `10s`, `2m30s`, `1h`";
    pub const OFFSET: &str = "an offset is a time with or without `-`: `1h`, `-30m`";
    pub const RATE: &str = "a rate carries a unit: `10M` or `10MB/s`";
    pub const CORES: &str = "a number of cores, `1.5`, or `\"150%\"`";
    pub const CPUSET: &str = "a list of processors: `0-3,7`";
    pub const MODE: &str = "an octal mode: `\"0644\"`";
    pub const DIGEST: &str = "`sha256:` and 64 lower-case hexadecimal digits";
    pub const INSIDE: &str = "an absolute path inside the sandbox";
    pub const OUTSIDE: &str = "a path on the host";
}

/// Reads a size in bytes; `K M G T`, `KB` and `KiB` are powers of 1024.
///
/// # Errors
/// What is wrong with `text`; sizes stay below 2⁶³, as off_t does.
pub fn size(text: &str) -> Result<Bytes, String> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let prefix = unit.strip_suffix("iB").or(unit.strip_suffix('B')).unwrap_or(unit);
    let digits = text.starts_with(|c: char| c.is_ascii_digit()) && !text[..text.len() - unit.len()].ends_with('.');
    if !digits || !matches!(prefix, "" | "K" | "M" | "G" | "T" | "k" | "m" | "g" | "t") || unit == "iB" {
        return Err(format!("`{text}` is not a size"));
    }
    match parse_size::Config::new().with_binary().parse_size(text) {
        Ok(bytes) if i64::try_from(bytes).is_ok() => Ok(Bytes(bytes)),
        Ok(_) | Err(parse_size::Error::PosOverflow) => Err(format!("the size `{text}` is too large")),
        Err(_) => Err(format!("`{text}` is not a size")),
    }
}

/// Reads bytes a second: a size with a unit, with or without `/s` behind it.
///
/// # Errors
/// What is wrong with `text`; a rate of zero would block for ever.
pub fn rate(text: &str) -> Result<u64, String> {
    let amount = text.strip_suffix("/s").unwrap_or(text);
    if amount.ends_with(|c: char| c.is_ascii_digit()) {
        return Err(format!("the rate `{text}` has no unit"));
    }
    match size(amount) {
        Ok(Bytes(0)) => Err("a rate of zero would block for ever".to_owned()),
        Ok(Bytes(bytes)) => Ok(bytes),
        Err(_) => Err(format!("`{text}` is not a rate")),
    }
}

/// Reads a time, such as `2m30s`. Units are `ns us ms s m h d w`.
///
/// # Errors
/// What is wrong with `text`; times end at 2⁶³ nanoseconds, about 292 years.
pub fn time(text: &str) -> Result<Duration, String> {
    let units = text.split(|c: char| c.is_ascii_digit()).filter(|unit| !unit.is_empty());
    let known = |unit: &str| matches!(unit, "ns" | "us" | "µs" | "ms" | "s" | "m" | "h" | "d" | "w");
    // `M` of humantime is a month, and a month is no time that a limit can keep.
    if let Some(unit) = units.clone().find(|unit| !known(unit)) {
        let reason = if unit == "M" { "minutes are `m`" } else { "unknown unit" };
        return Err(format!("`{text}` is not a time: {reason}"));
    }
    if units.count() == 0 {
        return Err(format!("the time `{text}` has no unit"));
    }
    match humantime::parse_duration(text) {
        Ok(time) if i64::try_from(time.as_nanos()).is_ok() => Ok(time),
        Ok(_) => Err(format!("the time `{text}` is too long")),
        Err(_) => Err(format!("`{text}` is not a time")),
    }
}

/// Reads a time that is not zero.
///
/// # Errors
/// What is wrong with `text`.
pub fn positive_time(text: &str) -> Result<Duration, String> {
    match time(text)? {
        Duration::ZERO => Err("a limit of no time at all would end every run".to_owned()),
        time => Ok(time),
    }
}

/// Reads a time with or without a sign, in nanoseconds.
///
/// # Errors
/// What is wrong with `text`.
pub fn offset(text: &str) -> Result<i64, String> {
    let magnitude =
        time(text.strip_prefix(['+', '-']).unwrap_or(text)).map_err(|_| format!("`{text}` is not an offset"))?;
    let nanoseconds = i64::try_from(magnitude.as_nanos()).map_err(|_| format!("the offset `{text}` is too long"))?;
    Ok(if text.starts_with('-') { -nanoseconds } else { nanoseconds })
}

/// Reads a share of the processors: `1.5` or `150%`.
///
/// # Errors
/// What is wrong with `text`.
pub fn cores(text: &str) -> Result<MilliCores, String> {
    let (number, unit) = text.strip_suffix('%').map_or((text, 1000.0), |number| (number, 10.0));
    let plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    match number.parse::<f64>() {
        Ok(number) if plain => milli_cores(number * unit),
        _ => Err(format!("`{text}` is not a number of cores")),
    }
}

/// Returns `milli` thousandths of a core. The least is 1 ms in every 100, which is
/// the shortest quota that the kernel takes (`min_cfs_quota_period`).
///
/// # Errors
/// What is wrong with the number.
pub fn milli_cores(milli: f64) -> Result<MilliCores, String> {
    if !(10.0..=8_192_000.0).contains(&milli.round()) {
        return Err("a share of the processors lies between 0.01 and 8192 cores".to_owned());
    }
    // Exact: the number is whole and within the range of u32.
    format!("{:.0}", milli.round()).parse().map(MilliCores).map_err(|error| error.to_string())
}

/// Reads a list of processors as cpuset(7) describes, and returns it as written.
///
/// # Errors
/// What is wrong with `text`; the kernel knows at most 8192 processors.
pub fn cpuset(text: &str) -> Result<String, String> {
    let number = |text: &str| -> Option<u32> {
        let plain = !text.is_empty() && text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
        if plain { text.parse().ok().filter(|number| *number < 8192) } else { None }
    };
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => {}
            (Some(_), Some(_)) => return Err(format!("the range `{part}` runs backwards")),
            _ => return Err(format!("`{part}` is not a processor or a range of them")),
        }
    }
    Ok(text.to_owned())
}

/// Reads an octal mode of up to four digits.
///
/// # Errors
/// What is wrong with `text`. Set-user-ID and set-group-ID are refused: everything is
/// mounted `nosuid`, so they would have no effect.
pub fn mode(text: &str) -> Result<u32, String> {
    let octal = (3..=4).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    match u32::from_str_radix(text, 8) {
        Ok(mode) if octal && mode & 0o6000 == 0 => Ok(mode),
        Ok(_) if octal => {
            Err(format!("the mode `{text}` has set-user-ID or set-group-ID bits, which never take effect"))
        }
        _ => Err(format!("`{text}` is not an octal mode")),
    }
}

/// Reads `sha256:` and its digits; returns the digits.
///
/// # Errors
/// What is wrong with `text`.
pub fn digest(text: &str) -> Result<String, String> {
    let hexadecimal =
        |digits: &&str| digits.len() == 64 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    match text.strip_prefix("sha256:").filter(hexadecimal) {
        Some(digits) => Ok(digits.to_owned()),
        None => Err(format!("`{text}` is not a digest")),
    }
}

/// Reads a name of a host as RFC 1123 has it, of at most 64 bytes (`__NEW_UTS_LEN`).
///
/// # Errors
/// What is wrong with `text`.
pub fn hostname(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > 64 {
        return Err(format!("the hostname `{text}` must have 1 to 64 characters"));
    }
    let label = |label: &str| {
        let plain = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        plain && (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
    };
    if text.split('.').all(label) {
        return Ok(text.to_owned());
    }
    Err(format!("`{text}` is not a hostname: letters, digits and `-` within, in parts separated by `.`"))
}

/// Reads the name of a volume, which is also the name of a directory.
///
/// # Errors
/// What is wrong with `text`.
pub fn volume_name(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if first && text.len() <= 128 && text.bytes().all(plain) && !text.contains("..") {
        return Ok(text.to_owned());
    }
    Err(format!("`{text}` is not the name of a volume: letters, digits, `_`, `.` and `-`, at most 128"))
}

/// Reads the name of a parameter.
///
/// # Errors
/// What is wrong with `text`.
pub fn parameter_name(text: &str) -> Result<String, String> {
    let first = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if first && plain && text.len() <= 64 {
        return Ok(text.to_owned());
    }
    Err(format!("`{text}` is not the name of a parameter: letters, digits, `_` and `-`, at most 64"))
}

/// Returns the whole number that `text` is in decimal digits, at most 38 of them, which always fit.
#[must_use]
pub fn whole_number(text: &str) -> Option<i128> {
    let plain = (1..=38).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

/// Reads the name of an environment variable.
///
/// # Errors
/// What is wrong with `text`: empty, with `=`, or with control characters.
pub fn variable_name(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("the name of a variable is empty".to_owned());
    }
    if text.contains('=') || text.contains(char::is_control) {
        return Err(format!("`{text}` is not the name of a variable"));
    }
    Ok(text.to_owned())
}

/// Reads a text that ends up in a C string.
///
/// # Errors
/// The text contains a NUL.
pub fn c_text(text: &str) -> Result<String, String> {
    match text.contains('\0') {
        true => Err("the text contains a NUL character".to_owned()),
        false => Ok(text.to_owned()),
    }
}

/// Reads a path in the host's tree.
///
/// # Errors
/// What is wrong with `text`: empty, too long (`PATH_MAX`), or with control characters.
pub fn host_path(text: &str) -> Result<HostPath, String> {
    if text.is_empty() {
        return Err("the path is empty".to_owned());
    }
    if text.contains(char::is_control) {
        return Err(format!("the path `{text}` contains a control character"));
    }
    if text.len() >= 4096 {
        return Err("the path must be shorter than 4096 bytes".to_owned());
    }
    Ok(HostPath(text.to_owned()))
}

/// Reads a path inside the sandbox.
///
/// # Errors
/// What is wrong with `text`.
pub fn inside_path(text: &str) -> Result<AbsPath, String> {
    if text.contains(char::is_control) {
        return Err(format!("the path `{text}` contains a control character"));
    }
    AbsPath::new(text).map_err(|reason| format!("the path `{text}` {reason}"))
}

/// Reads a path inside the sandbox at which something is mounted.
///
/// # Errors
/// What is wrong with `text`; the root itself is made by `rootfs`.
pub fn mount_point(text: &str) -> Result<AbsPath, String> {
    match inside_path(text)? {
        path if path == AbsPath::root() => Err("the root itself is made by `rootfs`".to_owned()),
        path => Ok(path),
    }
}

/// Reads the path of a device.
///
/// # Errors
/// What is wrong with `text`: it does not lie below `/dev`.
pub fn device_path(text: &str) -> Result<AbsPath, String> {
    let path = inside_path(text)?;
    match path.as_str().strip_prefix("/dev/") {
        Some(_) => Ok(path),
        None => Err(format!("the device `{text}` does not lie below `/dev`")),
    }
}

/// Reads what a symbolic link points at, which need not exist.
///
/// # Errors
/// What is wrong with `text`.
pub fn link_target(text: &str) -> Result<String, String> {
    host_path(text).map(|HostPath(target)| target)
}

/// The largest user or group: 2³² − 1 means "leave it" to setresuid(2).
pub const MAX_ID: u64 = 4_294_967_294;

/// Reads who the command runs as, where it is not given by numbers.
///
/// # Errors
/// What is wrong with `text`. Digits are refused: programs that looked them up as a
/// name first ran as the wrong user (CVE-2016-3697).
pub fn user_name(text: &str) -> Result<Who, String> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("a user by number stands without quotes and with its group: `user {text} {text}`"));
    }
    let first = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
    match text {
        "caller" => Ok(Who::Caller),
        "root" => Ok(Who::Root),
        _ if first && plain && text.len() <= 32 => Ok(Who::Name(text.to_owned())),
        _ => Err(format!("`{text}` is not the name of a user")),
    }
}

/// Reads where standard input comes from.
///
/// # Errors
/// What is wrong with `text`.
pub fn stdin(text: &str) -> Result<Stdin, String> {
    match text {
        "inherit" => Ok(Stdin::Inherit),
        "null" => Ok(Stdin::Null),
        _ => host_path(text).map(Stdin::File),
    }
}

/// Reads where the report goes.
///
/// # Errors
/// What is wrong with `text`; descriptor 0 is the command's input.
pub fn report_target(text: &str) -> Result<ReportTarget, String> {
    match (text, text.strip_prefix("fd:")) {
        ("stderr", _) => Ok(ReportTarget::Stderr),
        ("stdout", _) => Ok(ReportTarget::Stdout),
        ("none", _) => Ok(ReportTarget::None),
        ("-", _) => {
            Err("`-` is no name of a report: standard output is `stdout`, a file of that name `./-`".to_owned())
        }
        (_, Some(number)) => match number.parse() {
            Ok(fd @ 1..=1_048_575) if number.bytes().all(|byte| byte.is_ascii_digit()) => Ok(ReportTarget::Fd(fd)),
            _ => Err(format!("`{text}` is not a descriptor")),
        },
        _ => host_path(text).map(ReportTarget::File),
    }
}

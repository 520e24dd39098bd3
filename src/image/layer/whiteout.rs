//! The names with which a layer hides what lies below it: whiteouts of the OCI image specification (layer.md),
//! which come from AUFS.

use crate::error::{Error, Kind, Result};

pub(in crate::image) const PREFIX: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// What AUFS kept for itself in every layer.
const OF_AUFS: &[u8] = b".wh..wh.";

/// What the name of a member of a layer asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::image) enum Whiteout<'a> {
    /// The name beside it is hidden.
    Hides(&'a [u8]),
    /// All that lies below in the directory is hidden.
    Opaque,
    /// Means nothing to anybody today.
    Ignored,
}

/// Returns what `name` in the directory `above` asks for, or `None` where it is an ordinary name.
///
/// # Errors
/// A whiteout of nothing, of the directory itself or of the one above (moby's and containerd's "invalid whiteout");
/// something in a whiteout, which would be one to the next who packs the tree.
pub(in crate::image) fn whiteout<'a>(above: &[&[u8]], name: &'a [u8]) -> Result<Option<Whiteout<'a>>> {
    if above.iter().any(|part| part.starts_with(OF_AUFS)) {
        return Ok(Some(Whiteout::Ignored));
    }
    if let Some(part) = above.iter().find(|part| part.starts_with(PREFIX)) {
        let (name, part) = (name.escape_ascii(), part.escape_ascii());
        return Err(Error::new(Kind::Image, format!("`{name}` lies in the whiteout `{part}`")));
    }
    let Some(hidden) = name.strip_prefix(PREFIX) else { return Ok(None) };
    match hidden {
        _ if name == OPAQUE => Ok(Some(Whiteout::Opaque)),
        _ if name.starts_with(OF_AUFS) => Ok(Some(Whiteout::Ignored)),
        b"" | b"." | b".." => {
            Err(Error::new(Kind::Image, format!("the whiteout `{}` hides nothing", name.escape_ascii())))
        }
        _ => Ok(Some(Whiteout::Hides(hidden))),
    }
}

#[cfg(test)]
mod tests {
    use super::{Whiteout, whiteout};

    #[test]
    fn names() {
        assert_eq!(whiteout(&[], b"wh.x").unwrap(), None);
        assert_eq!(whiteout(&[], b".wh.x").unwrap(), Some(Whiteout::Hides(b"x")));
        assert_eq!(whiteout(&[], b".wh.x.wh.y").unwrap(), Some(Whiteout::Hides(b"x.wh.y")));
        assert_eq!(whiteout(&[], b".wh..x").unwrap(), Some(Whiteout::Hides(b".x")));
        assert_eq!(whiteout(&[], b".wh..wh..opq").unwrap(), Some(Whiteout::Opaque));
        for name in [&b".wh..wh.plnk"[..], b".wh..wh.aufs", b".wh..wh.orph", b".wh..wh..opqx"] {
            assert_eq!(whiteout(&[], name).unwrap(), Some(Whiteout::Ignored));
        }
        for name in [&b".wh."[..], b".wh..", b".wh..."] {
            assert!(whiteout(&[], name).is_err());
        }
        assert!(whiteout(&[b"d", b".wh.e"], b"x").is_err());
        assert_eq!(whiteout(&[b".wh..wh.plnk"], b"1.2").unwrap(), Some(Whiteout::Ignored));
    }
}

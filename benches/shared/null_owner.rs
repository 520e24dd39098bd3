//! Gives `/dev/null` of the host back after runs of peers that give it away.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

/// Who owns `/dev/null`. crun gives its standard streams to the container's user, and those of a
/// benchmark are that device: the host gets it back afterwards.
#[derive(Debug)]
pub(crate) struct NullOwner(Option<(u32, u32)>);

impl NullOwner {
    pub(crate) fn remember() -> Self {
        Self(fs::metadata("/dev/null").ok().map(|found| (found.uid(), found.gid())))
    }

    /// # Errors
    /// Who it cannot be given back to, and why.
    pub(crate) fn restore(self) -> Result<(), String> {
        if let Some((uid, gid)) = self.0
            && Self::remember().0 != self.0
        {
            std::os::unix::fs::chown("/dev/null", Some(uid), Some(gid))
                .map_err(|error| format!("cannot give /dev/null back to {uid}:{gid}: {error}"))?;
        }
        Ok(())
    }
}

//! Images of layers through the built program: made by umoci, skopeo, mmdebstrap and byte by byte, from layouts,
//! archives and a registry; what is inside is compared with what umoci makes of the same image.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic, in its helpers too")]

mod confined;
mod contents;
mod crowd;
mod debian;
pub(crate) mod maker;
mod sources;

//! The images that are in the store, as their notes say, and which one of them a word means. Nothing but notes and
//! the ends of lists is read.

use std::fs::File;
use std::path::Path;

use crate::error::{Error, Kind, Result};
use crate::image::digest::Digest;
use crate::image::layer;
use crate::image::layered::chain_id;
use crate::image::registry::{Reference, SCHEME};
use crate::image::seal::Sealed;
use crate::image::stock::{Known, KnownLayer, LayerSize, Match, Name};
use crate::image::store::{self, Named, Record, Store, failed};
use crate::units::{folded, visible};

/// What may stand before a path.
const PREFIXES: [&str; 4] = ["tar:", "oci:", "oci-archive:", "docker-archive:"];

/// Digits that a short digest has at least.
const DIGITS: usize = 4;

/// Returns all images, by digest.
///
/// # Errors
/// A store that cannot be read, or a note that is damaged.
pub fn known(store: &Store) -> Result<Vec<Known>> {
    let mut named: Vec<Named> = Vec::new();
    for (_, name) in store.names()? {
        named.extend(name.whole());
    }
    store
        .records()?
        .into_iter()
        .map(|(path, record)| match record {
            Sealed::Whole(record) => described(store, record, &named),
            _ => Err(Error::new(Kind::Host, format!("`{}` is damaged", path.display()))
                .with_hint("`sbx image verify --repair` removes what is damaged; the next run imports it again")),
        })
        .collect()
}

fn described(store: &Store, record: Record, named: &[Named]) -> Result<Known> {
    let pulled = named.iter().filter(|named| named.manifest == record.digest.hex()).map(|named| Name {
        name: named.reference.clone(),
        platform: named.platform.clone(),
        pulled_at: named.pulled_at.clone(),
    });
    let places = record.places.into_iter().map(|place| Name {
        name: place.source,
        platform: None,
        pulled_at: place.imported_at,
    });
    let mut names: Vec<Name> = pulled.chain(places).collect();
    names.sort_by(|one, other| (&one.pulled_at, &one.name).cmp(&(&other.pulled_at, &other.name)));
    let chain_id = chain_id(record.layers.iter().map(|layer| &layer.diff_id));
    let layers = record.layers.into_iter().map(|layer| {
        let size = size(store, &layer.diff_id)?;
        Ok(KnownLayer { digest: layer.blob, diff_id: layer.diff_id, size })
    });
    let layers = layers.collect::<Result<_>>()?;
    let Record { digest, kind, documents, config, .. } = record;
    Ok(Known { digest, kind, names, chain_id, layers, documents, config })
}

fn size(store: &Store, diff_id: &Digest) -> Result<Option<LayerSize>> {
    for ownership in store.flavours(store::Name::Layer(diff_id))? {
        let path = store.place_of(store::Name::Layer(diff_id), ownership).join("list");
        match File::open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("open", &path, &error)),
            Ok(mut list) => {
                let totals = layer::totals(&mut list).map_err(|error| failed("read", &path, &error))?;
                return Ok(totals.map(|totals| LayerSize { entries: totals.entries, bytes: totals.bytes }));
            }
        }
    }
    Ok(None)
}

/// Returns the image that `word` means: a name, a place with or without what stands before its path, relative to
/// `here`, or a digest, of which the first digits are enough where they are of one image only.
///
/// # Errors
/// A word that means no image or several.
pub fn find(all: &[Known], word: &str, here: &Path) -> Result<Match> {
    let names = all.iter().flat_map(|image| image.names.iter().map(move |name| (image, name)));
    let named = names.filter(|(_, name)| is_named(&name.name, word, here));
    // A file that was built anew is another image of the same name.
    if let Some((image, name)) = named.max_by_key(|(_, name)| &name.pulled_at) {
        return Ok(Match { image: image.clone(), name: Some(name.name.clone()) });
    }
    let digits = word.strip_prefix("sha256:").unwrap_or(word);
    let is_digest = digits.len() >= DIGITS && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let mut found = all.iter().filter(|image| is_digest && image.digest.hex().starts_with(digits));
    match (found.next(), found.count()) {
        (Some(image), 0) => Ok(Match { image: image.clone(), name: None }),
        (Some(_), others) => {
            let message = format!("`{}` is the beginning of the digests of {} images", visible(word), others + 1);
            Err(Error::new(Kind::Usage, message).with_hint("write more digits"))
        }
        (None, _) => Err(Error::new(Kind::Host, format!("there is no image `{}` in the store", visible(word)))
            .with_hint("`sbx image list` shows what is there")),
    }
}

fn is_named(name: &str, word: &str, here: &Path) -> bool {
    if name == word {
        return true;
    }
    if name.starts_with(SCHEME) {
        let text = if word.starts_with(SCHEME) { word.to_owned() } else { format!("{SCHEME}{word}") };
        return Reference::parse(&text).is_ok_and(|reference| reference.to_string() == name);
    }
    let Some((kind, place)) = name.split_once(':') else { return false };
    let (prefix, path) = PREFIXES
        .into_iter()
        .find_map(|prefix| word.strip_prefix(prefix).map(|path| (Some(prefix), path)))
        .unwrap_or((None, word));
    if path.is_empty() || prefix.is_some_and(|prefix| prefix.trim_end_matches(':') != kind) {
        return false;
    }
    let folded = |path: &Path| folded(path).display().to_string();
    let path = folded(&here.join(path));
    // As it was written when it was imported, with a `..` where the path had one, and with the tag.
    let without_tag = place.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).map(|(path, _)| path);
    [Some(place), without_tag].into_iter().flatten().any(|place| folded(Path::new(place)) == path)
}

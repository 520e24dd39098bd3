//! Many things of one kind by number. A number that was given back and is used again is told from its former self.

/// Where something is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    index: u32,
    /// 24 bits.
    age: u32,
}

impl Key {
    /// Returns the key as 56 bits.
    #[must_use]
    pub fn bits(self) -> u64 {
        u64::from(self.age) << 32 | u64::from(self.index)
    }

    /// Returns the key of [`Key::bits`]; the upper byte does not count.
    #[must_use]
    pub fn of(bits: u64) -> Self {
        let [index, age] = [bits & 0xffff_ffff, bits >> 32 & 0xff_ffff];
        Self { index: u32::try_from(index).unwrap_or(0), age: u32::try_from(age).unwrap_or(0) }
    }
}

/// Things by key.
#[derive(Debug)]
pub struct Slab<T> {
    places: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    /// Keeps what `make` makes of its key.
    pub fn insert_with(&mut self, make: impl FnOnce(Key) -> T) -> Key {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push((0, None));
            u32::try_from(self.places.len() - 1).unwrap_or(u32::MAX)
        });
        let place = &mut self.places[index as usize];
        let key = Key { index, age: place.0 };
        place.1 = Some(make(key));
        key
    }

    /// Returns what is kept there.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let (age, thing) = self.places.get_mut(key.index as usize)?;
        thing.as_mut().filter(|_| *age == key.age)
    }

    /// Gives out what is kept there, for good.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let (age, thing) = self.places.get_mut(key.index as usize)?;
        let thing = thing.take_if(|_| *age == key.age)?;
        *age = (*age + 1) & 0xff_ffff;
        self.free.push(key.index);
        Some(thing)
    }

    /// Returns how many things are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Returns whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the keys of all that is kept.
    #[must_use]
    pub fn keys(&self) -> Vec<Key> {
        let kept = self.places.iter().zip(0u32..).filter(|((_, thing), _)| thing.is_some());
        kept.map(|((age, _), index)| Key { index, age: *age }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Key, Slab};

    #[test]
    fn a_key_of_the_dead_finds_nobody() {
        let mut slab = Slab::default();
        let first = slab.insert_with(|_| "a");
        assert_eq!(slab.get_mut(first), Some(&mut "a"));
        assert_eq!(slab.remove(first), Some("a"));
        assert_eq!(slab.remove(first), None);
        let second = slab.insert_with(|_| "b");
        assert_ne!(first, second);
        assert_eq!(slab.get_mut(first), None);
        assert_eq!(slab.get_mut(second), Some(&mut "b"));
        assert_eq!((slab.len(), slab.keys()), (1, vec![second]));
        assert_eq!(Key::of(second.bits() | 7 << 56), second);
    }
}

//! Values in numbered slots that are used again.

/// The number of a slot. It means its value as long as that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(u32);

/// See the module's description.
#[derive(Debug)]
pub(super) struct Slots<T> {
    values: Vec<Option<T>>,
    free: Vec<Id>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self {
            values: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<T> Slots<T> {
    /// Whoever calls has a limit far below the numbers that there are.
    pub(super) fn insert(&mut self, value: T) -> Id {
        if let Some(id) = self.free.pop()
            && let Some(slot) = self.values.get_mut(id.0 as usize)
        {
            *slot = Some(value);
            return id;
        }
        let id = Id(u32::try_from(self.values.len()).unwrap_or(u32::MAX));
        self.values.push(Some(value));
        id
    }

    pub(super) fn get(&self, id: Id) -> Option<&T> {
        self.values.get(id.0 as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, id: Id) -> Option<&mut T> {
        self.values.get_mut(id.0 as usize)?.as_mut()
    }

    pub(super) fn remove(&mut self, id: Id) -> Option<T> {
        let value = self.values.get_mut(id.0 as usize)?.take()?;
        self.free.push(id);
        Some(value)
    }

    pub(super) fn len(&self) -> usize {
        self.values.len() - self.free.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Id, &T)> {
        (0..)
            .map(Id)
            .zip(&self.values)
            .filter_map(|(id, value)| Some((id, value.as_ref()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_used_again() {
        let mut slots = Slots::default();
        let (a, b) = (slots.insert('a'), slots.insert('b'));
        assert_eq!(
            (slots.remove(a), slots.remove(a), slots.len()),
            (Some('a'), None, 1)
        );
        assert_eq!((slots.get(a), slots.get(b)), (None, Some(&'b')));
        assert_eq!((slots.insert('c'), slots.insert('d')), (a, Id(2)));
        *slots.get_mut(b).unwrap() = 'x';
        assert_eq!(slots.iter().map(|(_, value)| *value).collect::<String>(), "cxd");
    }
}

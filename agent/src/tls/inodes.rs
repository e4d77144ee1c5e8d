//! Which files processes have mapped executable, what was found in each, and who uses it.
//!
//! Two levels. A *place* is what the kernel shows of a mapping, a device and an inode number; it lives as long as a process has it
//! mapped, because only so long do the numbers mean the same file. An *image* is the file itself, which several places may lead to (the
//! same layer of several containers); what was found in it is kept for a while after its last user, so that a short-lived program that
//! is started again and again is probed from its first byte on.

use std::collections::HashMap;
use std::sync::Arc;

use super::library::Finding;
use super::maps::FileKey;
use super::opening::{Identity, Stamp};
use super::slots::{Id, Slots};

/// What became of an image.
#[derive(Debug)]
pub struct Verdict<H> {
    /// What is said of it; empty: there is nothing of TLS in it.
    pub findings: Vec<Arc<Finding>>,
    /// Its probes; dropping takes them out.
    pub probes: Vec<H>,
}

impl<H> Verdict<H> {
    /// Nothing of TLS.
    pub const NOTHING: Self = Self {
        findings: Vec::new(),
        probes: Vec::new(),
    };
}

#[derive(Debug)]
struct Place {
    key: FileKey,
    image: Id,
    /// Processes.
    users: u32,
    /// As events tell it; not known before the first one.
    generation: Option<u64>,
}

#[derive(Debug)]
struct Image<H> {
    identity: Identity,
    stamp: Stamp,
    verdict: Verdict<H>,
    places: u32,
    /// It has no name any more: nobody else will come to use it.
    unlinked: bool,
    /// Since when it has no places, ns.
    idle_since_ns: u64,
}

/// See the module's description.
#[derive(Debug)]
pub struct Inodes<H> {
    places: Slots<Place>,
    by_key: HashMap<FileKey, Id>,
    images: Slots<Image<H>>,
    by_identity: HashMap<Identity, Id>,
    probed: usize,
    limits: Limits,
    detached: u64,
}

/// Bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Images, and places.
    pub files: usize,
    /// Images with probes.
    pub libraries: usize,
    /// How long an image without users is kept, ns.
    pub linger_ns: u64,
}

impl<H> Inodes<H> {
    /// Empty.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            places: Slots::default(),
            by_key: HashMap::new(),
            images: Slots::default(),
            by_identity: HashMap::new(),
            probed: 0,
            limits,
            detached: 0,
        }
    }

    /// The place that mappings of a file are counted at, if it is known. `generation` as an event tells it: another one than before is
    /// another file, and `None` is given.
    pub fn place(&mut self, key: FileKey, generation: Option<u64>) -> Option<Id> {
        let id = *self.by_key.get(&key)?;
        let place = self.places.get_mut(id)?;
        match (place.generation, generation) {
            (_, None) => Some(id),
            (Some(known), Some(told)) => (known == told).then_some(id),
            (None, Some(_)) => None,
        }
    }

    /// The image of a file that was opened, as long as its content is the one that was looked at.
    pub fn image(&mut self, identity: &Identity, stamp: &Stamp, now_ns: u64) -> Option<Id> {
        let id = *self.by_identity.get(identity)?;
        let image = self.images.get_mut(id)?;
        // Somebody used it just now, however briefly.
        image.idle_since_ns = now_ns;
        (image.stamp == *stamp).then_some(id)
    }

    /// Whether a file can be kept. One that nobody uses makes room.
    pub fn has_room_for_file(&mut self, identity: &Identity) -> bool {
        let known = self.by_identity.contains_key(identity) || self.images.len() < self.limits.files;
        self.places.len() < self.limits.files && (known || self.evict_idle())
    }

    /// Keeps what was found in a file; what was known of its earlier content is replaced.
    pub fn add_image(
        &mut self,
        identity: Identity,
        stamp: Stamp,
        unlinked: bool,
        verdict: Verdict<H>,
        now_ns: u64,
    ) -> Id {
        self.probed += usize::from(!verdict.probes.is_empty());
        if let Some(id) = self.by_identity.get(&identity).copied()
            && let Some(image) = self.images.get_mut(id)
        {
            let before = std::mem::replace(&mut image.verdict, verdict);
            image.stamp = stamp;
            image.unlinked = unlinked;
            self.forget_probes(&before);
            return id;
        }
        let id = self.images.insert(Image {
            identity: identity.clone(),
            stamp,
            verdict,
            places: 0,
            unlinked,
            idle_since_ns: now_ns,
        });
        self.by_identity.insert(identity, id);
        id
    }

    /// Whether another library may be probed. One that nobody uses makes room.
    pub fn has_room_for_library(&mut self) -> bool {
        if self.probed < self.limits.libraries {
            return true;
        }
        let oldest = self
            .images
            .iter()
            .filter(|(_, image)| image.places == 0 && !image.verdict.probes.is_empty())
            .min_by_key(|(_, image)| image.idle_since_ns)
            .map(|(id, _)| id);
        oldest.is_some_and(|id| {
            self.remove_image(id);
            true
        })
    }

    /// Where mappings that show these numbers are counted from now on.
    pub fn add_place(&mut self, key: FileKey, image: Id, generation: Option<u64>, now_ns: u64) -> Id {
        self.count_place(image);
        if let Some(id) = self.by_key.get(&key).copied()
            && let Some(place) = self.places.get_mut(id)
        {
            place.generation = generation.or(place.generation);
            let before = std::mem::replace(&mut place.image, image);
            self.leave_image(before, now_ns);
            return id;
        }
        let id = self.places.insert(Place {
            key,
            image,
            users: 0,
            generation,
        });
        self.by_key.insert(key, id);
        id
    }

    /// Another process uses it.
    pub fn join(&mut self, place: Id) {
        if let Some(place) = self.places.get_mut(place) {
            place.users += 1;
        }
    }

    /// A process uses it no longer.
    pub fn leave(&mut self, place: Id, now_ns: u64) {
        let Some(used) = self.places.get_mut(place) else {
            return;
        };
        used.users = used.users.saturating_sub(1);
        if used.users == 0
            && let Some(gone) = self.places.remove(place)
        {
            self.by_key.remove(&gone.key);
            self.leave_image(gone.image, now_ns);
        }
    }

    /// What is said of the file there; empty: there is nothing of TLS in it.
    #[must_use]
    pub fn findings_at(&self, place: Id) -> &[Arc<Finding>] {
        let image = self.places.get(place).map(|place| place.image);
        image.map_or(&[], |image| self.findings_of(image))
    }

    /// What is said of a file.
    #[must_use]
    pub fn findings_of(&self, image: Id) -> &[Arc<Finding>] {
        self.images
            .get(image)
            .map_or(&[], |image| &image.verdict.findings)
    }

    /// Forgets what nobody used for so long, and what nobody can use again.
    pub fn expire(&mut self, now_ns: u64) {
        let gone: Vec<Id> = self
            .images
            .iter()
            .filter(|(_, image)| {
                let idle_ns = now_ns.saturating_sub(image.idle_since_ns);
                image.places == 0 && (image.unlinked || idle_ns >= self.limits.linger_ns)
            })
            .map(|(id, _)| id)
            .collect();
        for id in gone {
            self.remove_image(id);
        }
    }

    /// Everything that is said of images, and how many processes use each.
    pub fn findings(&self) -> impl Iterator<Item = (&Arc<Finding>, u32)> {
        let mut users: HashMap<Id, u32> = HashMap::new();
        for (_, place) in self.places.iter() {
            *users.entry(place.image).or_default() += place.users;
        }
        self.images.iter().flat_map(move |(id, image)| {
            let users = users.get(&id).copied().unwrap_or(0);
            image.verdict.findings.iter().map(move |finding| (finding, users))
        })
    }

    /// Images kept.
    #[must_use]
    pub fn files(&self) -> usize {
        self.images.len()
    }

    /// Images with probes.
    #[must_use]
    pub fn probed(&self) -> usize {
        self.probed
    }

    /// How often probes were taken out so far.
    #[must_use]
    pub fn detached(&self) -> u64 {
        self.detached
    }

    fn count_place(&mut self, image: Id) {
        if let Some(image) = self.images.get_mut(image) {
            image.places += 1;
        }
    }

    fn leave_image(&mut self, id: Id, now_ns: u64) {
        if let Some(image) = self.images.get_mut(id) {
            image.places = image.places.saturating_sub(1);
            image.idle_since_ns = now_ns;
        }
    }

    /// The one that nobody used for longest, of those without probes if there is one. False: all are in use.
    fn evict_idle(&mut self) -> bool {
        let oldest = self
            .images
            .iter()
            .filter(|(_, image)| image.places == 0)
            .min_by_key(|(_, image)| (!image.verdict.probes.is_empty(), image.idle_since_ns))
            .map(|(id, _)| id);
        oldest.is_some_and(|id| {
            self.remove_image(id);
            true
        })
    }

    fn remove_image(&mut self, id: Id) {
        if let Some(image) = self.images.remove(id) {
            self.by_identity.remove(&image.identity);
            self.forget_probes(&image.verdict);
        }
    }

    fn forget_probes(&mut self, verdict: &Verdict<H>) {
        if !verdict.probes.is_empty() {
            self.probed -= 1;
            self.detached += 1;
        }
    }
}

#[cfg(test)]
#[path = "inodes_tests.rs"]
mod tests;

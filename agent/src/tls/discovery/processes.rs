//! Which files each process has mapped.

use std::collections::HashMap;
use std::sync::Arc;

use super::MAPPINGS_MAX;
use crate::tls::library::Finding;
use crate::tls::slots::Id;

#[derive(Debug, Default)]
struct Process {
    /// In order, without duplicates.
    places: Vec<Id>,
    /// The look at all processes that saw it last.
    round: u32,
    /// How many programs it has executed since it is known.
    program: u32,
    /// The first of its files that could not be followed.
    missed: Option<Arc<Finding>>,
    /// Its first thread ended before others.
    leaderless: bool,
    /// Whose child it is, if that was told.
    parent: Option<u32>,
}

/// What became of a use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// It is new.
    New,
    /// It was known, or the process is not.
    Known,
    /// The process has too many.
    BeyondLimit,
}

/// See the module's description.
#[derive(Debug)]
pub(super) struct Processes {
    table: HashMap<u32, Process>,
    limit: usize,
    round: u32,
}

impl Processes {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            table: HashMap::new(),
            limit,
            round: 0,
        }
    }

    /// Whether it is new; `None`: there are too many.
    pub(super) fn ensure(&mut self, pid: u32) -> Option<bool> {
        if let Some(process) = self.table.get_mut(&pid) {
            process.round = self.round;
            return Some(false);
        }
        if self.table.len() >= self.limit {
            return None;
        }
        let process = Process {
            round: self.round,
            ..Process::default()
        };
        self.table.insert(pid, process);
        Some(true)
    }

    pub(super) fn knows(&self, pid: u32) -> bool {
        self.table.contains_key(&pid)
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// How many programs it has executed.
    pub(super) fn program(&self, pid: u32) -> Option<u32> {
        Some(self.table.get(&pid)?.program)
    }

    pub(super) fn places(&self, pid: u32) -> &[Id] {
        self.table.get(&pid).map_or(&[], |process| &process.places)
    }

    pub(super) fn missed(&self, pid: u32) -> Option<&Arc<Finding>> {
        self.table.get(&pid)?.missed.as_ref()
    }

    /// False when there was one before, or the process is not known.
    pub(super) fn miss(&mut self, pid: u32, finding: Arc<Finding>) -> bool {
        let Some(process) = self.table.get_mut(&pid) else {
            return false;
        };
        let first = process.missed.is_none();
        process.missed.get_or_insert(finding);
        first
    }

    pub(super) fn add(&mut self, pid: u32, place: Id) -> Use {
        let Some(process) = self.table.get_mut(&pid) else {
            return Use::Known;
        };
        match process.places.binary_search(&place) {
            Ok(_) => Use::Known,
            Err(_) if process.places.len() >= MAPPINGS_MAX => Use::BeyondLimit,
            Err(at) => {
                process.places.insert(at, place);
                Use::New
            }
        }
    }

    /// Other places than it had. Gives those that it had.
    pub(super) fn replace(&mut self, pid: u32, places: Vec<Id>) -> Vec<Id> {
        self.table
            .get_mut(&pid)
            .map(|process| std::mem::replace(&mut process.places, places))
            .unwrap_or_default()
    }

    /// Another program: nothing is mapped. Gives what was.
    pub(super) fn exec(&mut self, pid: u32) -> Vec<Id> {
        self.table
            .get_mut(&pid)
            .map(|process| {
                process.program = process.program.wrapping_add(1);
                process.missed = None;
                process.leaderless = false;
                std::mem::take(&mut process.places)
            })
            .unwrap_or_default()
    }

    /// A child has what its parent has. Gives that; `None`: the parent is not known.
    pub(super) fn copy(&mut self, parent: u32, child: u32) -> Option<Vec<Id>> {
        let parent = self.table.get(&parent)?;
        let (places, missed) = (parent.places.clone(), parent.missed.clone());
        let child = self.table.get_mut(&child)?;
        child.places.clone_from(&places);
        child.missed = missed;
        Some(places)
    }

    /// Gives what it had mapped.
    pub(super) fn remove(&mut self, pid: u32) -> Option<Vec<Id>> {
        Some(self.table.remove(&pid)?.places)
    }

    pub(super) fn set_parent(&mut self, pid: u32, parent: u32) {
        if let Some(process) = self.table.get_mut(&pid) {
            process.parent = Some(parent);
        }
    }

    pub(super) fn parent(&self, pid: u32) -> Option<u32> {
        self.table.get(&pid)?.parent
    }

    pub(super) fn lose_leader(&mut self, pid: u32) {
        if let Some(process) = self.table.get_mut(&pid) {
            process.leaderless = true;
        }
    }

    pub(super) fn lost_leader(&self, pid: u32) -> bool {
        self.table.get(&pid).is_some_and(|process| process.leaderless)
    }

    pub(super) fn leaderless(&self) -> Vec<u32> {
        let leaderless = self.table.iter().filter(|(_, process)| process.leaderless);
        leaderless.map(|(pid, _)| *pid).collect()
    }

    /// A look at all processes begins: those that are known from now on were seen by it.
    pub(super) fn begin_round(&mut self) -> u32 {
        self.round = self.round.wrapping_add(1);
        self.round
    }

    /// Those that it did not see.
    pub(super) fn unseen(&self, round: u32) -> Vec<u32> {
        let unseen = self.table.iter().filter(|(_, process)| process.round != round);
        unseen.map(|(pid, _)| *pid).collect()
    }
}

//! What the records of each call point say.

use std::rc::Rc;

use arch_abi::record::Recording;
use fast_ring::{Shape, format};
use rustc_hash::FxHashMap;

use crate::fast::wants::Wants;
use crate::points::PointId;
use crate::proto::Plan;
use crate::tracer::reporter::AtOnce;

/// What the records under one id say.
#[derive(Debug, Clone)]
pub(super) struct Kind {
    pub(super) point: PointId,
    pub(super) plan: Rc<Plan>,
    pub(super) wants: Rc<Wants>,
    /// How its calls are shown at once, where that can be.
    pub(super) at_once: Option<Rc<AtOnce>>,
}

/// What records say, by their ids.
#[derive(Debug, Default)]
pub(in crate::tracer) struct Kinds {
    all: Vec<Kind>,
    pub(super) shapes: Vec<Shape>,
    ids: FxHashMap<(PointId, Recording), u32>,
}

impl Kinds {
    /// The id of the records of a call point; `None` if there are too many.
    pub(super) fn id(
        &mut self,
        point: PointId,
        plan: &Rc<Plan>,
        wants: Wants,
        at_once: Option<Rc<AtOnce>>,
    ) -> Option<u32> {
        let key = (point, wants.recording.clone());
        if let Some(&id) = self.ids.get(&key) {
            return Some(id);
        }
        let id = u32::try_from(self.all.len())
            .ok()
            .filter(|&id| id < format::MAX_IDS)?;
        self.shapes.push(wants.shape());
        self.all.push(Kind {
            point,
            plan: Rc::clone(plan),
            wants: Rc::new(wants),
            at_once,
        });
        self.ids.insert(key, id);
        Some(id)
    }

    /// The id and the recording of the same calls, with their times.
    pub(super) fn stamped(&mut self, id: u32) -> Option<(u32, Recording)> {
        let kind = self.get(id)?.clone();
        let mut wants = Wants::clone(&kind.wants);
        wants.recording.call.stamp = true;
        let recording = wants.recording.clone();
        Some((self.id(kind.point, &kind.plan, wants, kind.at_once)?, recording))
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn get(&self, id: u32) -> Option<&Kind> {
        self.all.get(usize::try_from(id).ok()?)
    }
}

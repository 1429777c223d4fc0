//! How the calls of each call point are shown.

use std::rc::Rc;

use arch_abi::Arch;

use super::Reporter;
use crate::derive::Candidate;
use crate::points::{Kind, Point, PointId};
use crate::proto::Plan;

impl Reporter {
    /// How calls of this call point are shown; found once. Where no prototype is known, `objects` are asked, those of
    /// the process in search order.
    pub(in crate::tracer) fn plan(
        &mut self,
        id: PointId,
        point: &Point,
        arch: Arch,
        objects: impl FnOnce() -> Vec<Candidate>,
    ) -> Rc<Plan> {
        if let Some(Some(plan)) = self.plans.get(id.0 as usize) {
            return Rc::clone(plan);
        }
        self.make_plans(&[(id, point)], arch, objects);
        let plan = self.plans.get(id.0 as usize).and_then(Option::as_ref);
        Rc::clone(plan.unwrap_or_else(|| unreachable!("it was just made")))
    }

    /// Finds how calls of these call points are shown, as [`plan`](Self::plan) does. Of many, the objects are looked into once.
    pub(in crate::tracer) fn make_plans(
        &mut self,
        points: &[(PointId, &Point)],
        arch: Arch,
        objects: impl FnOnce() -> Vec<Candidate>,
    ) {
        let may_infer = self.options.lines && !self.prototypes.is_only_loaded();
        let mut unknown = Vec::new();
        for &(id, point) in points {
            let index = id.0 as usize;
            if self.plans.len() <= index {
                self.plans.resize(index + 1, None);
            }
            if self.plans[index].is_some() {
                continue;
            }
            let plan = self.stated(point, arch);
            if matches!(point.kind, Kind::Import | Kind::Entry) && !plan.known && may_infer {
                unknown.push((index, &*point.name));
            }
            self.plans[index] = Some(Rc::new(plan));
        }
        if unknown.is_empty() {
            return;
        }
        let names: Vec<&str> = unknown.iter().map(|&(_, name)| name).collect();
        let derived = self.derived.get_mut();
        let found = derived.of(objects(), &names, arch, &mut self.prototypes);
        for ((index, _), found) in unknown.into_iter().zip(found) {
            if let Some((prototype, source)) = found {
                let plan = Plan::new(self.prototypes.types(), prototype, arch, !source.is_guess());
                self.plans[index] = Some(Rc::new(plan));
            }
        }
    }

    /// The plan by the prototypes that were written down.
    fn stated(&mut self, point: &Point, arch: Arch) -> Plan {
        let sonames: Vec<&str> = point.caller.needed.iter().map(String::as_str).collect();
        match point.kind {
            Kind::Syscall => self.prototypes.syscall_plan(arch, &point.name),
            Kind::Import => self.prototypes.plan(arch, &sonames, &point.name),
            Kind::Entry | Kind::Place => self.prototypes.plan(arch, &[point.caller.short()], &point.name),
        }
    }
}

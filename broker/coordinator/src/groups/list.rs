//! ListGroups.

use std::collections::BTreeSet;

use super::command::List;
use super::reply::{Listing, Reply};
use super::turn::Turn;
use crate::{RequestId, Str};

/// The type of every group of this machine (version 5, KIP-848).
const CLASSIC: &str = "classic";

impl Turn<'_> {
    pub(super) fn list(&mut self, request: RequestId, list: &List) {
        let durable = self.groups.iter().map(|(group, _)| group);
        let known: BTreeSet<&Str> = durable.chain(self.waiting.live.keys()).collect();
        let asked = |names: &[Str], name: &str| {
            names.is_empty() || names.iter().any(|asked| asked.eq_ignore_ascii_case(name))
        };
        let mut listings = Vec::new();
        for group in known {
            let (state, protocol_type) = self.state_of(group);
            if asked(&list.states, state.name()) && asked(&list.types, CLASSIC) {
                let group_type = Str::from_static(CLASSIC);
                listings.push(Listing { group: group.clone(), protocol_type, state, group_type });
            }
        }
        self.reply(request, Reply::Listed(listings));
    }
}

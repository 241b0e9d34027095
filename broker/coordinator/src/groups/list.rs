//! ListGroups.

use std::collections::BTreeSet;

use super::command::List;
use super::reply::{Listing, Reply};
use super::turn::Turn;
use crate::{RequestId, Str};

/// The types of groups (version 5, KIP-848).
const CLASSIC: &str = "classic";
const CONSUMER: &str = "consumer";

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
            let group_type = if self.consumer_group(group).is_some() { CONSUMER } else { CLASSIC };
            if asked(&list.states, state.name()) && asked(&list.types, group_type) {
                let group_type = Str::from_static(group_type);
                listings.push(Listing { group: group.clone(), protocol_type, state, group_type });
            }
        }
        self.reply(request, Reply::Listed(listings));
    }
}

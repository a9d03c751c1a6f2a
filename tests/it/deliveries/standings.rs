use std::time::Duration;

use paperround::clock::Timestamp;
use paperround::deliveries::relays::{self, RelayRow, RelayState};
use paperround::smtp::health::Health;
use paperround::smtp::route::Standing;

use super::Press;
use crate::support::{TestApp, db_test};

const RELAYS_AWAY: &str = "ALTER TABLE relays RENAME TO relays_away";
const RELAYS: &str = "ALTER TABLE relays_away RENAME TO relays";

db_test!(
    relays_are_told_of_in_the_order_of_the_settings_each_with_its_next_try,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let mut known = Vec::new();
        let rest = |relay: &str, minutes| Standing {
            relay: relay.to_owned(),
            health: Health::BackingOff {
                until: press.now() + Duration::from_mins(minutes),
                reason: "421 busy".to_owned(),
            },
        };
        let rests = |minutes| ["gone", "own", "spare"].map(|name| rest(name, minutes));
        for minutes in [1, 2] {
            let noted = relays::note(&press.db, &rests(minutes), &mut known, press.now()).await;
            noted.unwrap();
        }
        // what cannot be written down is written down the next time
        let halted = [Standing {
            relay: "own".to_owned(),
            health: Health::Halted {
                until: press.now() + Duration::from_hours(1),
                reason: "535 no".to_owned(),
            },
        }];
        app.execute(RELAYS_AWAY).await;
        let noted = relays::note(&press.db, &halted, &mut known, press.now()).await;
        assert!(noted.is_err());
        app.execute(RELAYS).await;
        let noted = relays::note(&press.db, &halted, &mut known, press.now()).await;
        noted.unwrap();
        // one that is new in the settings, and one that stands there no more
        let names = ["spare", "own", "new"].map(str::to_owned);
        let rows = relays::standing(&press.db, &names).await.unwrap();
        let told: Vec<_> = rows
            .iter()
            .map(|row| (row.name.as_str(), row.state, row.until))
            .collect();
        let until = |minutes| Some(press.now() + Duration::from_mins(minutes));
        assert_eq!(
            told,
            [
                ("spare", RelayState::BackingOff, until(2)),
                ("own", RelayState::Halted, until(60)),
            ]
        );
    }
);

db_test!(
    a_relay_that_works_again_has_no_next_try,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let mut known = Vec::new();
        let rests = Health::BackingOff {
            until: press.now() + Duration::from_mins(1),
            reason: "421 busy".to_owned(),
        };
        for health in [rests, Health::Ok] {
            let relay = "own".to_owned();
            let standings = [Standing { relay, health }];
            let noted = relays::note(&press.db, &standings, &mut known, press.now()).await;
            noted.unwrap();
        }
        let rows = relays::standing(&press.db, &["own".to_owned()]).await;
        let row = rows.unwrap().remove(0);
        assert_eq!((row.state, row.until), (RelayState::Ok, None));
    }
);

db_test!(
    a_worker_writes_down_what_is_news_to_it_and_nothing_over_what_another_wrote,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let rests = |reason: &str| Health::BackingOff {
            until: press.now() + Duration::from_mins(15),
            reason: reason.to_owned(),
        };
        let stand = |own, spare| {
            [("own", own), ("spare", spare)].map(|(relay, health)| Standing {
                relay: relay.to_owned(),
                health,
            })
        };
        let mut known = [Vec::new(), Vec::new()];
        for (worker, standings) in [
            (0, stand(Health::Ok, Health::Ok)),
            (1, stand(Health::Ok, Health::Ok)),
            (0, stand(rests("421 busy"), Health::Ok)),
            (1, stand(Health::Ok, rests("451 later"))),
            (0, stand(rests("421 full"), Health::Ok)),
        ] {
            let known = &mut known[worker];
            let noted = relays::note(&press.db, &standings, known, press.now()).await;
            noted.unwrap();
        }
        let names = ["own", "spare"].map(str::to_owned);
        let rows = relays::standing(&press.db, &names).await.unwrap();
        let reasons: Vec<_> = rows.iter().map(|row| row.reason.as_deref()).collect();
        assert_eq!(reasons, [Some("421 full"), Some("451 later")]);
    }
);

#[test]
fn what_is_wrong_with_a_relay_is_said_in_a_sentence() {
    let at = Timestamp::UNIX_EPOCH;
    let rests = format!("Relay own rests until {at}: 421 busy");
    let halted = format!("Relay own is halted until {at}: 535 no");
    let unknown = "Relay own rests: no reason is known".to_owned();
    for (state, until, reason, trouble) in [
        (RelayState::Ok, None, None, None),
        (
            RelayState::BackingOff,
            Some(at),
            Some("421 busy"),
            Some(rests),
        ),
        (RelayState::Halted, Some(at), Some("535 no"), Some(halted)),
        (RelayState::BackingOff, None, None, Some(unknown)),
    ] {
        let row = RelayRow {
            name: "own".to_owned(),
            state,
            until,
            reason: reason.map(str::to_owned),
            changed_at: at,
        };
        assert_eq!(row.trouble(), trouble);
    }
}

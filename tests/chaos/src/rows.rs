//! The table of what happens after a failure, as docs/operations.md promises it.

use std::time::Duration;

use super::Probe;
use super::recovery::Measure;
use super::row::{Check, Lasts, Moment, Row};
use faults::{Kind, Target};

/// Good answers without a break, within this many seconds of a moment.
macro_rules! well {
    ($probe:ident within $seconds:literal s of $from:ident) => {
        Check {
            probe: Probe::$probe,
            from: Moment::$from,
            measure: Measure::GoodInARow,
            bound: |_, _| Duration::from_secs($seconds),
        }
    };
    ($probe:ident within $leases:literal leases and $seconds:literal s of $from:ident) => {
        Check {
            probe: Probe::$probe,
            from: Moment::$from,
            measure: Measure::GoodInARow,
            bound: |pace, _| pace.lease * $leases + Duration::from_secs($seconds),
        }
    };
}

/// The seat overview is read on the standbys, so it goes on but for a while around the promotion.
const OVERVIEW: Check = Check {
    probe: Probe::Availability,
    from: Moment::Fault,
    measure: Measure::LongestGap,
    bound: |_, _| Duration::from_secs(5),
};

use Kind::{Cut, Kill, Pause, Restart, Slow, Stop, Switch};
use Target as T;

/// How long the bank takes for the card that pays slowly.
const SLOW_CARD: Duration = Duration::from_secs(2);

/// The purchases that a part which stands alone holds up.
const ALONE: [Check; 2] = [
    well!(Hold within 10 s of Restored),
    well!(Order within 10 s of Restored),
];

const QUEUE: [Check; 3] = [
    well!(Hold within 1 s of Fault),
    Check {
        probe: Probe::Order,
        from: Moment::Healthy(T::Queue),
        measure: Measure::FirstThatWaited,
        bound: |_, _| Duration::from_secs(5),
    },
    Check {
        probe: Probe::Order,
        from: Moment::Healthy(T::Queue),
        measure: Measure::AllThatWaited,
        // The backlog by half the normal rate, which is that at which the probes come.
        bound: |_, waiting| {
            let drained = waiting as f64 / (super::probe::A_SECOND / 2.0);
            Duration::from_secs_f64(10.0 + drained)
        },
    },
];

/// The whole table.
pub const ROWS: &[Row] = &[
    Row {
        name: "replica",
        says: "any one replica of a service",
        weight: 18,
        faults: &[
            &[(Kill, T::Identity)],
            &[(Kill, T::Catalog)],
            &[(Kill, T::Booking)],
            &[(Pause, T::Identity)],
            &[(Pause, T::Catalog)],
            &[(Stop, T::Identity)],
            &[(Stop, T::Catalog)],
            &[(Stop, T::Booking)],
            &[(Cut, T::Identity)],
            &[(Cut, T::Catalog)],
            &[(Cut, T::Booking)],
        ],
        lasts: Lasts::PastTheBound,
        checks: &[
            well!(Event within 2 s of Fault),
            well!(Session within 2 s of Fault),
            well!(Availability within 2 s of Fault),
            // A write that was on its way gets an error, and may be repeated with its key.
            well!(HoldAgain within 2 s of Fault),
        ],
    },
    Row {
        name: "booking-paused",
        says: "a replica of booking, paused",
        weight: 4,
        faults: &[&[(Pause, T::Booking)]],
        lasts: Lasts::PastTheBound,
        checks: &[
            well!(Availability within 2 s of Fault),
            well!(HoldAgain within 2 s of Fault),
            // Nginx gives up on a write after 1.6 s.
            Check {
                probe: Probe::Hold,
                from: Moment::Fault,
                measure: Measure::SlowestAnswer,
                bound: |_, _| Duration::from_millis(1_700),
            },
        ],
    },
    Row {
        name: "worker",
        says: "a worker in the middle of a payment",
        weight: 8,
        faults: &[
            &[(Kill, T::Worker)],
            &[(Pause, T::Worker)],
            &[(Cut, T::Worker)],
        ],
        lasts: Lasts::PastTheBound,
        checks: &[Check {
            probe: Probe::SlowPayment,
            from: Moment::Fault,
            measure: Measure::AllThatWaited,
            // By then another takes it up; its card takes its time once more.
            bound: |pace, _| pace.visibility + Duration::from_secs(2) + SLOW_CARD,
        }],
    },
    Row {
        name: "leader",
        says: "the leading worker, lost",
        weight: 10,
        faults: &[
            &[(Kill, T::LeadingWorker)],
            &[(Pause, T::LeadingWorker)],
            &[(Cut, T::LeadingWorker)],
        ],
        lasts: Lasts::PastTheBound,
        checks: &[well!(Order within 1 leases and 2 s of Fault)],
    },
    Row {
        name: "leader-stopped",
        says: "the leading worker, stopped (SIGTERM)",
        weight: 6,
        faults: &[&[(Stop, T::LeadingWorker)]],
        lasts: Lasts::PastTheBound,
        checks: &[well!(Order within 1 s of Fault)],
    },
    Row {
        name: "both-leaders",
        says: "the leading worker and the leader of etcd at once",
        weight: 6,
        faults: &[
            &[(Kill, T::EtcdLeader), (Kill, T::LeadingWorker)],
            &[(Pause, T::EtcdLeader), (Kill, T::LeadingWorker)],
        ],
        lasts: Lasts::PastTheBound,
        checks: &[well!(Order within 2 leases and 4 s of Fault)],
    },
    Row {
        name: "postgres-primary",
        says: "Postgres primary, lost",
        weight: 10,
        faults: &[
            &[(Kill, T::PostgresPrimary)],
            &[(Stop, T::PostgresPrimary)],
            &[(Cut, T::PostgresPrimary)],
            &[(Restart, T::PostgresPrimary)],
        ],
        lasts: Lasts::PastTheBound,
        checks: &[
            well!(Hold within 25 s of Fault),
            // Without its database the leading worker may lose its lease.
            well!(Order within 1 leases and 27 s of Fault),
            OVERVIEW,
        ],
    },
    Row {
        name: "postgres-primary-paused",
        says: "Postgres primary, paused",
        weight: 6,
        faults: &[&[(Pause, T::PostgresPrimary)]],
        lasts: Lasts::PastTheBound,
        checks: &[
            well!(Hold within 30 s of Fault),
            // Until the first commit: it waits for the other standby.
            well!(Hold within 3 s of Led),
            // Without its database the leading worker may lose its lease.
            well!(Order within 1 leases and 32 s of Fault),
            OVERVIEW,
        ],
    },
    Row {
        name: "switchover",
        says: "planned switchover of Postgres",
        weight: 6,
        faults: &[&[(Switch, T::PostgresPrimary)]],
        lasts: Lasts::PastTheBound,
        checks: &[well!(Hold within 4 s of Fault), OVERVIEW],
    },
    Row {
        name: "postgres-standby",
        says: "a Postgres standby",
        weight: 5,
        faults: &[
            &[(Kill, T::PostgresStandby)],
            &[(Pause, T::PostgresStandby)],
            &[(Cut, T::PostgresStandby)],
        ],
        lasts: Lasts::PastTheBound,
        checks: &[
            well!(Hold within 2 s of Fault),
            well!(Availability within 2 s of Fault),
        ],
    },
    Row {
        name: "redis-primary",
        says: "Redis primary",
        weight: 10,
        faults: &[
            &[(Kill, T::RedisPrimary)],
            &[(Pause, T::RedisPrimary)],
            &[(Stop, T::RedisPrimary)],
            &[(Cut, T::RedisPrimary)],
            &[(Restart, T::RedisPrimary)],
        ],
        lasts: Lasts::PastTheBound,
        checks: &[
            well!(SignIn within 10 s of Fault),
            well!(Session within 2 s of Fault),
            well!(Hold within 2 s of Fault),
        ],
    },
    Row {
        name: "redis-replica",
        says: "a Redis replica or a sentinel",
        weight: 5,
        faults: &[
            &[(Kill, T::RedisReplica)],
            &[(Pause, T::RedisReplica)],
            &[(Kill, T::Sentinel)],
            &[(Pause, T::Sentinel)],
        ],
        lasts: Lasts::PastTheBound,
        checks: &[
            well!(Session within 2 s of Fault),
            well!(SignIn within 2 s of Fault),
        ],
    },
    Row {
        name: "etcd-member",
        says: "one etcd member",
        weight: 8,
        faults: &[
            &[(Kill, T::EtcdLeader)],
            &[(Pause, T::EtcdLeader)],
            &[(Cut, T::EtcdLeader)],
            &[(Kill, T::EtcdMember)],
            &[(Pause, T::EtcdMember)],
        ],
        lasts: Lasts::PastTheBound,
        checks: &[
            well!(Hold within 2 s of Fault),
            well!(Order within 2 s of Fault),
        ],
    },
    Row {
        name: "etcd-majority",
        says: "two etcd members",
        weight: 5,
        faults: &[&[(Kill, T::EtcdPair)], &[(Pause, T::EtcdPair)]],
        lasts: Lasts::Seconds(10, 20),
        checks: &[
            well!(Hold within 2 s of Fault),
            Check {
                probe: Probe::Order,
                from: Moment::Healthy(T::EtcdPair),
                measure: Measure::FirstThatWaited,
                bound: |pace, _| pace.lease * 2 + Duration::from_secs(2),
            },
        ],
    },
    Row {
        name: "queue",
        says: "the queue",
        weight: 8,
        faults: &[
            &[(Kill, T::Queue)],
            &[(Pause, T::Queue)],
            &[(Stop, T::Queue)],
            &[(Cut, T::Queue)],
        ],
        lasts: Lasts::Seconds(3, 10),
        checks: &QUEUE,
    },
    Row {
        name: "queue-and-standby",
        says: "the queue and a Postgres standby at once",
        weight: 5,
        faults: &[
            &[(Kill, T::PostgresStandby), (Kill, T::Queue)],
            &[(Pause, T::PostgresStandby), (Kill, T::Queue)],
        ],
        lasts: Lasts::Seconds(3, 10),
        checks: &QUEUE,
    },
    Row {
        name: "cache",
        says: "the cache",
        weight: 5,
        faults: &[
            &[(Kill, T::Cache)],
            &[(Pause, T::Cache)],
            &[(Cut, T::Cache)],
        ],
        lasts: Lasts::PastTheBound,
        checks: &[
            well!(Event within 1 s of Fault),
            well!(Hold within 1 s of Fault),
        ],
    },
    Row {
        name: "bank",
        says: "the bank, which stands alone",
        weight: 5,
        faults: &[&[(Kill, T::Bank)], &[(Pause, T::Bank)], &[(Cut, T::Bank)]],
        lasts: Lasts::Seconds(3, 10),
        checks: &[
            well!(Hold within 1 s of Fault),
            // Orders are accepted meanwhile, and wait.
            Check {
                probe: Probe::Order,
                from: Moment::Restored,
                measure: Measure::FirstThatWaited,
                bound: |_, _| Duration::from_secs(10),
            },
            well!(Order within 10 s of Restored),
        ],
    },
    Row {
        name: "documents",
        says: "DynamoDB Local, which stands alone",
        weight: 5,
        faults: &[
            &[(Kill, T::Dynamodb)],
            &[(Pause, T::Dynamodb)],
            &[(Cut, T::Dynamodb)],
        ],
        lasts: Lasts::Seconds(3, 10),
        checks: &[
            well!(Hold within 1 s of Fault),
            well!(Publish within 10 s of Restored),
        ],
    },
    Row {
        name: "nginx",
        says: "Nginx, which stands alone",
        weight: 5,
        faults: &[
            &[(Kill, T::Nginx)],
            &[(Pause, T::Nginx)],
            &[(Stop, T::Nginx)],
        ],
        lasts: Lasts::Seconds(3, 10),
        checks: &ALONE,
    },
    Row {
        name: "haproxy",
        says: "HAProxy, which stands alone",
        weight: 5,
        faults: &[
            &[(Kill, T::Haproxy)],
            &[(Pause, T::Haproxy)],
            &[(Stop, T::Haproxy)],
            &[(Cut, T::Haproxy)],
        ],
        lasts: Lasts::Seconds(3, 10),
        checks: &ALONE,
    },
    Row {
        name: "slow",
        says: "a part that is slow and not dead",
        weight: 9,
        faults: &[
            &[(Slow, T::Booking)],
            &[(Slow, T::LeadingWorker)],
            &[(Slow, T::PostgresPrimary)],
            &[(Slow, T::PostgresStandby)],
            &[(Slow, T::RedisPrimary)],
            &[(Slow, T::EtcdLeader)],
            &[(Slow, T::Queue)],
            &[(Slow, T::Bank)],
            &[(Slow, T::Cache)],
            &[(Slow, T::Identity)],
            &[(Slow, T::Catalog)],
            &[(Slow, T::Dynamodb)],
            &[(Slow, T::Haproxy)],
            &[(Slow, T::Nginx)],
            &[(Slow, T::RedisReplica)],
            &[(Slow, T::Sentinel)],
        ],
        lasts: Lasts::Seconds(8, 15),
        checks: &[
            well!(Event within 2 s of Fault),
            well!(Session within 2 s of Fault),
            well!(Hold within 2 s of Fault),
        ],
    },
];

#[cfg(test)]
mod tests;

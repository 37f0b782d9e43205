//! Rate limits over one DynamoDB, with several instances that each hold their own permits.

use std::sync::Arc;

use futures_util::future::join_all;
use sealfleet_domain::fleet::{Pool, Project};
use sealfleet_domain::rate::Limits;
use sealfleet_domain::{ProjectScope, Timestamp, limits};
use sealfleet_ledger::{Error, Ledger, Meter, Rates};
use sealfleet_system::SystemIds;

use crate::fixtures::{Hand, scope};

const LIMITS: Limits = Limits {
    requests_per_second: 100,
    burst: 200,
};

struct World {
    ledger: Ledger,
    clock: Arc<Hand>,
    meter: Arc<Meter>,
}

async fn world() -> World {
    let (store, _) = sealfleet_test_dynamo::start().await.unwrap();
    let clock = Arc::new(Hand::new());
    let meter = store.meter();
    World {
        ledger: Ledger::new(store, clock.clone(), Arc::new(SystemIds)),
        clock,
        meter,
    }
}

fn instances(count: usize) -> Vec<Rates> {
    (0..count).map(|_| Rates::new(LIMITS)).collect()
}

/// Whether a request is admitted. If not, how many seconds it is told to wait.
async fn comes_in(rates: &Rates, world: &World, project: &ProjectScope) -> Result<(), u32> {
    match rates.admit(&world.ledger, project).await {
        Ok(()) => Ok(()),
        Err(Error::RateLimited(seconds)) => Err(seconds),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn all_instances_together_admit_no_more_than_is_documented() {
    let (world, project) = (world().await, scope("a"));
    let (mut admitted, mut refused) = (0_u32, 0_u32);
    let all = instances(7);
    // For five seconds, every instance gets 60 requests each tenth: 4,200 a second, of 100 allowed.
    for _ in 0..50 {
        for rates in &all {
            for _ in 0..60 {
                match comes_in(rates, &world, &project).await {
                    Ok(()) => admitted += 1,
                    Err(_) => refused += 1,
                }
            }
        }
        world.clock.wait(100);
    }
    let most = LIMITS.burst + LIMITS.requests_per_second * (5 + 3);
    assert!(admitted <= most, "{admitted} of {most}");
    assert!(
        admitted >= LIMITS.burst + LIMITS.requests_per_second * 4,
        "only {admitted} were admitted"
    );
    assert!(refused > 0);
}

#[tokio::test]
async fn a_hundred_new_instances_at_once_all_come_in_and_all_are_counted() {
    let (world, project) = (world().await, scope("a"));
    let limits = Limits {
        requests_per_second: 1,
        burst: 100,
    };
    let all: Vec<Rates> = (0..100).map(|_| Rates::new(limits)).collect();
    let answers = join_all(all.iter().map(|rates| comes_in(rates, &world, &project))).await;
    assert_eq!(answers, [Ok(()); 100], "there is a permit for each");
    let more: Vec<Rates> = (0..20).map(|_| Rates::new(limits)).collect();
    let answers = join_all(more.iter().map(|rates| comes_in(rates, &world, &project))).await;
    assert_eq!(answers, [Err(1); 20], "and for nobody else");
}

#[tokio::test]
async fn a_hundred_instances_beside_a_slow_table_all_come_in() {
    let (world, project) = (world().await, scope("a"));
    // By the time that all have read the row, permits have been earned again. Each finds the state
    // behind now.
    world.clock.advance_with_each_look(3);
    let all: Vec<Rates> = (0..100)
        .map(|_| {
            Rates::new(Limits {
                requests_per_second: 100,
                burst: 100,
            })
        })
        .collect();
    let answers = join_all(all.iter().map(|rates| comes_in(rates, &world, &project))).await;
    assert_eq!(answers, [Ok(()); 100]);
}

#[tokio::test]
async fn a_request_costs_far_less_than_a_write() {
    let (world, project) = (world().await, scope("a"));
    let all = instances(3);
    let before = world.meter.units();
    // Forty a second, well below the limit: all are admitted.
    for turn in 0..400 {
        comes_in(&all[turn % 3], &world, &project).await.unwrap();
        world.clock.wait(25);
    }
    let (written, read) = world.meter.units();
    let (written, read) = (written - before.0, read - before.1);
    assert!(
        written <= 60.0 && read <= 60.0,
        "400 requests took {written} write and {read} read units"
    );
}

#[tokio::test]
async fn many_idle_instances_do_not_eat_the_permits() {
    let (world, project) = (world().await, scope("a"));
    let all = instances(40);
    // Each instance gets one request in two seconds, after its batch has expired: twenty requests a
    // second, of 100 allowed.
    for _ in 0..5 {
        for rates in &all {
            assert_eq!(comes_in(rates, &world, &project).await, Ok(()));
            world.clock.wait(50);
        }
    }
}

#[tokio::test]
async fn who_is_refused_comes_in_after_the_time_that_is_told() {
    let (world, project) = (world().await, scope("a"));
    onboard(&world, &project).await;
    world
        .ledger
        .set_limits(
            &project,
            Some(Limits {
                requests_per_second: 1,
                burst: 3,
            }),
            "operator:x",
        )
        .await
        .unwrap();
    let all = instances(2);
    for turn in 0..3 {
        assert_eq!(comes_in(&all[turn % 2], &world, &project).await, Ok(()));
    }
    let seconds = comes_in(&all[0], &world, &project).await.unwrap_err();
    assert_eq!(seconds, 1);
    assert_eq!(
        comes_in(&all[1], &world, &project).await,
        Err(1),
        "nor by another instance"
    );
    assert_eq!(
        comes_in(&all[0], &world, &scope("a-b")).await,
        Ok(()),
        "another project is not affected"
    );
    world.clock.wait(i64::from(seconds) * 1000 + 1);
    assert_eq!(comes_in(&all[0], &world, &project).await, Ok(()));
    assert!(
        comes_in(&all[0], &world, &project).await.is_err(),
        "exactly one was earned"
    );
}

#[tokio::test]
async fn new_limits_hold_at_once_and_are_on_record() {
    let (world, project) = (world().await, scope("a"));
    assert!(matches!(
        world.ledger.set_limits(&project, None, "operator:x").await,
        Err(Error::NotFound)
    ));
    onboard(&world, &project).await;
    let narrow = Limits {
        requests_per_second: 1,
        burst: 1,
    };
    world
        .ledger
        .set_limits(&project, Some(narrow), "operator:x")
        .await
        .unwrap();
    assert_eq!(world.ledger.limits(&project).await.unwrap(), Some(narrow));
    let rates = Rates::new(LIMITS);
    assert_eq!(comes_in(&rates, &world, &project).await, Ok(()));
    assert!(comes_in(&rates, &world, &project).await.is_err());
    world
        .ledger
        .set_limits(&project, None, "operator:x")
        .await
        .unwrap();
    assert_eq!(world.ledger.limits(&project).await.unwrap(), None);
    world.clock.wait(1001);
    for _ in 0..50 {
        assert_eq!(
            comes_in(&rates, &world, &project).await,
            Ok(()),
            "the instance has noticed it"
        );
    }
    let (from, to) = (
        Timestamp::from_millis(1_800_000_000_000),
        Timestamp::from_millis(1_800_000_100_000),
    );
    let filter = sealfleet_ledger::AuditFilter::between(from, to, 100);
    let names: Vec<String> = world
        .ledger
        .audit(&sealfleet_domain::Owner::Project(project.clone()), &filter)
        .await
        .unwrap()
        .entries
        .into_iter()
        .flat_map(|entry| entry.events)
        .map(|event| event.name())
        .collect();
    assert_eq!(
        names
            .iter()
            .filter(|name| *name == "project.limits_set")
            .count(),
        2,
        "{names:?}"
    );
}

#[tokio::test]
async fn registrations_without_a_key_are_bounded_by_project() {
    let (world, project) = (world().await, scope("a"));
    for _ in 0..limits::PENDING_WORKERS_A_MINUTE {
        world.ledger.admit_registration(&project).await.unwrap();
    }
    assert!(matches!(
        world.ledger.admit_registration(&project).await,
        Err(Error::RateLimited(_))
    ));
    world.ledger.admit_registration(&scope("b")).await.unwrap();
    world.clock.wait(60_000);
    world.ledger.admit_registration(&project).await.unwrap();
}

async fn onboard(world: &World, scope: &ProjectScope) {
    let project = Project::new(
        scope.project().clone(),
        [("workers".parse().unwrap(), Pool::Pull { backend: None })].into(),
        world.ledger.now(),
    );
    world
        .ledger
        .create_project(scope, &project, &[], "operator:x")
        .await
        .unwrap();
}

//! Passwords as argon2id hashes, one at a time.
//!
//! There is one block of memory of the size that a hash needs, made once, and each hash takes its turn
//! at it. So memory and CPU stay bounded however many requests come. A request that waits too long
//! for its turns is refused with 503. One that needs two turns waits for both together no longer than
//! for one. That no client has so many turns that others wait is for [`crate::allowances`].

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use problem::Problem;
use prometheus::{Histogram, register_histogram};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::{Instant, timeout_at};

use crate::fields::{NewPassword, Password};

/// Memory of a hash in KiB, its passes and its lanes: OWASP's first choice for argon2id.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// How long a request waits for its turns to hash, all of them together. With what it waits for
/// besides it is less than a request may take: a test of `lib.rs` adds it up.
pub(crate) const TURNS: Duration = Duration::from_secs(3);

static SECONDS: LazyLock<Histogram> = LazyLock::new(|| {
    #[allow(clippy::expect_used)] // a clash of metric names is a mistake in the program
    let metric = register_histogram!(
        "identity_password_hash_seconds",
        "Duration of one password hash, without the wait for its turn.",
        vec![0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1.0]
    )
    .expect("metric names are unique");
    metric
});

/// Makes and checks password hashes.
#[derive(Clone)]
pub(crate) struct Passwords {
    memory: Arc<Mutex<Vec<Block>>>,
    parameters: Params,
    /// The hash of nobody's password: checked where there is no account, so that it takes as long.
    nobody: PasswordHash,
}

/// Why a password could not be hashed.
type Failure = argon2::password_hash::Error;

impl Passwords {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let failed = |error: argon2::Error| anyhow::anyhow!("argon2: {error}");
        let parameters = Params::new(MEMORY_KIB, PASSES, LANES, Some(Params::DEFAULT_OUTPUT_LEN))
            .map_err(failed)?;
        let mut memory = vec![Block::new(); parameters.block_count()];
        let password: [u8; 32] = rand::random();
        let nobody = compute(&parameters, &mut memory, &password, random_salt()?)?;
        let _ = &*SECONDS;
        Ok(Self {
            memory: Arc::new(Mutex::new(memory)),
            parameters,
            nobody,
        })
    }

    /// The hash of a new password, in the PHC string format.
    ///
    /// # Errors
    /// 503 where others were at it `until` then.
    pub(crate) async fn hash(
        &self,
        password: &NewPassword,
        until: Instant,
    ) -> Result<String, Problem> {
        let salt = random_salt().map_err(Problem::internal)?;
        let password = password.reveal().to_owned();
        Ok(self
            .take_turn(password, salt, self.parameters.clone(), until)
            .await?
            .to_string())
    }

    /// Whether `password` is the one behind `hash`; without a hash it takes as long and is false.
    ///
    /// # Errors
    /// 503 where others were at it `until` then.
    pub(crate) async fn check(
        &self,
        password: &Password,
        hash: Option<&str>,
        until: Instant,
    ) -> Result<bool, Problem> {
        let known = match hash {
            Some(hash) => &PasswordHash::new(hash).map_err(Problem::internal)?,
            None => &self.nobody,
        };
        let parameters = Params::try_from(known).map_err(Problem::internal)?;
        if parameters.block_count() > self.parameters.block_count() {
            return Err(Problem::internal(
                "a stored hash wants more memory than there is",
            ));
        }
        let salt = known
            .salt
            .ok_or_else(|| Problem::internal("a stored hash has no salt"))?;
        // How many spellings there are depends on the password that was sent, and on nothing that
        // is known of the account.
        for spelling in password.spellings() {
            let turn = self.take_turn(spelling, salt, parameters.clone(), until);
            // The comparison of outputs takes the same time wherever they differ.
            if turn.await?.hash == known.hash && hash.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn take_turn(
        &self,
        password: String,
        salt: Salt,
        parameters: Params,
        until: Instant,
    ) -> Result<PasswordHash, Problem> {
        let memory: OwnedMutexGuard<_> = timeout_at(until, self.memory.clone().lock_owned())
            .await
            .map_err(|_| crowded())?;
        // The memory moves into the blocking task: a caller that hangs up does not free the turn.
        tokio::task::spawn_blocking(move || {
            let mut memory = memory;
            let _timer = SECONDS.start_timer();
            compute(&parameters, &mut memory, password.as_bytes(), salt)
        })
        .await
        .map_err(Problem::internal)?
        .map_err(Problem::internal)
    }
}

/// 503: too many others wait for a turn.
fn crowded() -> Problem {
    Problem::unavailable("the password check, for which many requests wait,").retry_after(2)
}

fn random_salt() -> Result<Salt, Failure> {
    let bytes: [u8; 16] = rand::random();
    Ok(Salt::new(&bytes)?)
}

fn compute(
    parameters: &Params,
    memory: &mut [Block],
    password: &[u8],
    salt: Salt,
) -> Result<PasswordHash, Failure> {
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters.clone());
    let mut output = [0; Params::DEFAULT_OUTPUT_LEN];
    argon2.hash_password_into_with_memory(password, &salt, &mut output, memory)?;
    Ok(PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(parameters)?,
        salt: Some(salt),
        hash: Some(Output::new(&output)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        Password::try_from(text.to_owned()).unwrap()
    }

    fn new_password(text: &str) -> NewPassword {
        NewPassword::try_from(text.to_owned()).unwrap()
    }

    /// Longer than any of these tests.
    fn later() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[tokio::test]
    async fn a_hash_knows_its_password_and_no_other() {
        let passwords = Passwords::new().unwrap();
        let (new, right) = (new_password("correct horse"), password("correct horse"));
        let hash = passwords.hash(&new, later()).await.unwrap();
        assert!(
            hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{hash}"
        );
        let check = async |password: &Password, hash: Option<&str>| {
            let checked = passwords.check(password, hash, later()).await;
            checked.unwrap()
        };
        assert!(check(&right, Some(hash.as_str())).await);
        assert!(!check(&password("correct horsE"), Some(hash.as_str())).await);
        assert!(!check(&right, None).await);
        assert_ne!(hash, passwords.hash(&new, later()).await.unwrap());
    }

    /// The same password, composed and decomposed.
    const COMPOSED: &str = "caf\u{e9} caf\u{e9}";
    const DECOMPOSED: &str = "cafe\u{301} cafe\u{301}";

    #[tokio::test]
    async fn a_password_is_the_same_however_its_letters_are_composed() {
        let passwords = Passwords::new().unwrap();
        for new in [COMPOSED, DECOMPOSED] {
            let hash = passwords.hash(&new_password(new), later()).await.unwrap();
            for typed in [COMPOSED, DECOMPOSED] {
                let typed_password = password(typed);
                let checked = passwords.check(&typed_password, Some(&hash), later());
                assert!(checked.await.unwrap(), "{new:?} {typed:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_hash_of_what_a_keyboard_once_sent_stays_valid() {
        let passwords = Passwords::new().unwrap();
        for sent in [COMPOSED, DECOMPOSED, "caf\u{e9} cafe\u{301}"] {
            // As before passwords were composed: of the bytes as they came.
            let salt = random_salt().unwrap();
            let until = later();
            let parameters = passwords.parameters.clone();
            let turn = passwords.take_turn(sent.to_owned(), salt, parameters, until);
            let hash = turn.await.unwrap().to_string();
            for (typed, is_right) in [(sent, true), ("cafe cafe", false)] {
                let typed = password(typed);
                let checked = passwords.check(&typed, Some(&hash), until);
                assert_eq!(checked.await.unwrap(), is_right, "{sent:?}");
            }
        }
    }

    #[tokio::test]
    async fn hashes_stand_in_line_and_the_line_is_bounded() {
        let passwords = Passwords::new().unwrap();
        let turn = passwords.memory.clone().lock_owned().await;
        let started = Instant::now();
        let patience = Duration::from_millis(200);
        let until = started + patience;
        // Whoever has waited his time waits for no second turn either.
        for _ in 0..2 {
            let refused = passwords.hash(&new_password("correct horse"), until).await;
            assert_eq!(refused.unwrap_err().status(), 503);
        }
        let waited = started.elapsed();
        assert!((patience..TURNS).contains(&waited), "{waited:?}");
        drop(turn);
        let hashed = passwords
            .hash(&new_password("correct horse"), later())
            .await;
        assert!(hashed.is_ok());
    }
}

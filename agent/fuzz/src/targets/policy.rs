//! The capture policy as an operator writes it.

use policy::CapturePolicy;

/// What is understood can be told again, and means the same.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match CapturePolicy::parse(text) {
        Ok(policy) => {
            let _ = policy.lint();
            let again = CapturePolicy::parse(&policy.to_toml());
            assert_eq!(again.as_ref().ok(), Some(&policy));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

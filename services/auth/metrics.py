"""What auth tells Prometheus: of how many codes that went out somebody logged in."""

from prometheus_client import Counter

OTP_SENT = Counter(
    "thoughtflow_otp_sent", "One-time codes that were sent, again or anew.", ["channel"]
)
OTP_VERIFIED = Counter("thoughtflow_otp_verified", "Codes that were right, in time.", ["channel"])
OTP_DELIVERIES = Counter(
    "thoughtflow_otp_deliveries",
    "Tries to hand a code to a provider, by outcome: sent, failed.",
    ["provider", "outcome"],
)

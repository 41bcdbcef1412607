"""Networks as the engine has them: records, leases, containers' places on them, published ports."""

"""``[serve]``: where the service listens and what it writes down."""

from pydantic import BaseModel, ConfigDict, Field


class ServeSettings(BaseModel):
    """``[serve]``: where the service listens and what it writes down."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", min_length=1, description="Address to listen on.")
    port: int = Field(5001, ge=1, le=65535, description="Port to listen on.")
    log: str | None = Field(
        None,
        min_length=1,
        description="Address of the prediction log's database; by default predictions.db, "
        "SQLite, in the state folder, where a relative SQLite path starts too.",
    )
    maximum_rows: int = Field(
        10_000, ge=1, le=1_000_000, description="Most rows that one request may hold."
    )

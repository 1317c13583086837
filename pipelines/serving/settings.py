"""``[serve]``: where the service listens, what it bears, and what it writes down."""

from pydantic import BaseModel, ConfigDict, Field


class ServeSettings(BaseModel):
    """``[serve]``: where the service listens, what it bears, and what it writes down."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", min_length=1, description="Address to listen on.")
    port: int = Field(5001, ge=1, le=65535, description="Port to listen on.")
    workers: int = Field(
        1, ge=1, le=64, description="Processes that answer, each with the model in its memory."
    )
    maximum_rows: int = Field(
        10_000, ge=1, le=1_000_000, description="Most rows that one request may hold."
    )
    maximum_mb: float = Field(
        32.0, gt=0, le=1024, description="Largest body of a request, in megabytes."
    )
    queue: int = Field(
        64,
        ge=1,
        le=10_000,
        description="Most requests that a process answers or lets wait; beyond them 503.",
    )
    deadline_seconds: float = Field(
        10.0, gt=0, le=3600, description="Longest that a request may wait for its answer; then 503."
    )
    reload_seconds: float = Field(
        2.0, gt=0, le=3600, description="How often it is looked up which version the alias names."
    )
    shadow: bool = Field(
        True,
        description="Whether the challenger, where there is one, is asked the same, unheard.",
    )
    fast: bool = Field(
        True,
        description="Whether rows are prepared without pandas, where the gate saw that this "
        "answers the same.",
    )
    log: str | None = Field(
        None,
        min_length=1,
        description="Address of the prediction log's database; by default predictions.db, "
        "SQLite, in the state folder, where a relative SQLite path starts too.",
    )
    redact: tuple[str, ...] = Field(
        (), description="Columns whose values are left out of the prediction log."
    )
    archive_days: int = Field(
        30,
        ge=1,
        description="Days after which rows of the log go from the database to Parquet files.",
    )
    retention_days: int | None = Field(
        None, ge=1, description="Days after which rows of the log are deleted; by default never."
    )

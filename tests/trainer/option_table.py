"""What becomes of every option of `Trainer`: inherited, honoured or refused."""

from __future__ import annotations

# Trainer's own business: it changes OODTrainer as it changes Trainer. By what a test of the group looks at.
INHERITED: dict[str, set[str]] = {
    "weights": {
        *("per_device_train_batch_size", "num_train_epochs", "max_steps", "gradient_accumulation_steps"),
        *("learning_rate", "lr_scheduler_type", "lr_scheduler_kwargs", "warmup_steps"),
        *("optim", "optim_args", "weight_decay", "adam_beta1", "adam_beta2", "adam_epsilon"),
        *("optim_target_modules", "max_grad_norm", "dataloader_drop_last", "optimizers"),
        *("optimizer_cls_and_kwargs", "bf16", "seed", "full_determinism", "neftune_noise_alpha"),
        *("activation_checkpointing", "activation_checkpointing_kwargs"),
        *("gradient_checkpointing", "gradient_checkpointing_kwargs"),
    },
    "logs and evaluations": {
        *("logging_strategy", "logging_steps", "logging_first_step", "log_on_each_node"),
        *("include_num_input_tokens_seen", "log_level", "log_level_replica", "report_to", "run_name"),
        *("eval_steps", "eval_delay", "eval_on_start", "per_device_eval_batch_size"),
        *("eval_accumulation_steps", "eval_use_gather_object", "preprocess_logits_for_metrics", "callbacks"),
        *("skip_memory_metrics", "debug", "bf16_full_eval", "fp16_full_eval", "disable_tqdm"),
    },
    "checkpoints": {
        *("output_dir", "save_strategy", "save_steps", "save_on_each_node", "save_total_limit"),
        *("enable_jit_checkpoint", "ignore_data_skip", "restore_callback_states_from_checkpoint"),
        *("processing_class", "resume_from_checkpoint", "auto_find_batch_size"),
    },
    "data loading": {
        *("dataloader_num_workers", "dataloader_pin_memory", "dataloader_persistent_workers"),
        *("dataloader_prefetch_factor", "dataloader_multiprocessing_context", "dataloader_in_order"),
        *("length_column_name", "accelerator_config"),
    },
    "machines and the Hub": {
        *("use_cpu", "tf32", "torch_compile", "torch_compile_backend", "torch_compile_mode", "use_cache"),
        *("ddp_find_unused_parameters", "ddp_bucket_cap_mb", "ddp_broadcast_buffers", "ddp_static_graph"),
        *("ddp_backend", "ddp_timeout", "deepspeed", "fsdp_config", "liger_kernel_config", "local_rank"),
        *("push_to_hub", "hub_token", "hub_private_repo", "hub_model_id", "hub_strategy"),
        *("hub_always_push", "hub_revision", "project", "trackio_space_id", "trackio_bucket_id"),
        *("trackio_static_space_id", "do_train", "do_eval", "do_predict", "torch_empty_cache_steps"),
    },
}

# Ours: a test here or beside it shows the effect.
HONOURED: set[str] = {
    *("model", "args", "train_dataset", "eval_dataset", "data_collator", "model_init"),
    *("compute_loss_func", "compute_metrics", "label_smoothing_factor", "label_names"),
    *("metric_for_best_model", "greater_is_better", "load_best_model_at_end", "eval_strategy"),
    *("prediction_loss_only", "include_for_metrics", "save_only_model", "data_seed"),
    *("remove_unused_columns", "logging_nan_inf_filter"),
    "average_tokens_across_devices",  # objectives count samples by environment, over all devices
}

# What would do nothing, or something else than it says: an error when the trainer is made.
REFUSED: dict[str, dict[str, object]] = {
    "batch_eval_metrics": {"batch_eval_metrics": True},
    "eval_do_concat_batches": {"eval_do_concat_batches": False},
    "use_liger_kernel": {"use_liger_kernel": True},
    "train_sampling_strategy": {"train_sampling_strategy": "sequential"},  # beside equal environments
    "optim='lomo'": {"optim": "lomo"},
    "fp16": {"fp16": True},  # on a CPU
    "fsdp": {"fsdp": "full_shard"},  # on a CPU
    "parallelism_config": {},  # see test_options.py
}
